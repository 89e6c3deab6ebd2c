"""`python -m tests.conformance`: fetch the tests that SAQ publishes with its source, and run them on the engine.

They are no part of this repository: pip brings the source of the installed version, and what the tests import
besides (`requirements/conformance.txt`). Those of PostgreSQL, which the engine does not replace, skip themselves.
"""

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import click

from saqueduct.embedded.redis import EmbeddedRedis

BACKEND = Path(__file__).resolve().parents[2]
FILES = ("test_queue.py", "test_worker.py", "test_job.py")

UNSTEADY = ("TestHttpRedis and test_cron", "pandas")
"""Tests left out: the first fails with SAQ's own classes too, about every second time, because its sweep aborts jobs
that are just being started; the second needs pandas."""


@click.command()
@click.option("--stock", is_flag=True, help="Run them on SAQ's own classes, to compare.")
@click.argument("arguments", nargs=-1)
def main(stock: bool, arguments: tuple[str, ...]) -> None:
    """Run SAQ's tests; ARGUMENTS go to pytest."""
    with tempfile.TemporaryDirectory(prefix="saqueduct-conformance-") as name:
        directory = Path(name)
        _fetch(directory)
        server = EmbeddedRedis(directory / "redis")
        try:
            sys.exit(_run(directory, server.start(), stock, arguments))
        finally:
            server.stop()


def _fetch(directory: Path) -> None:
    """SAQ's tests, and what they import, into the directory."""
    version = importlib.metadata.version("saq")
    _pip("download", "--no-deps", "--no-build-isolation", "--no-binary", "saq", "-d", directory, f"saq=={version}")
    [archive] = directory.glob("saq-*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(directory, filter="data")
    requirements = BACKEND / "requirements" / "conformance.txt"
    _pip("install", "--no-deps", "--require-hashes", "--target", directory / "packages", "-r", requirements)
    tests = directory / "tests"
    tests.mkdir()
    for file in FILES:
        (directory / f"saq-{version}" / "tests" / file).rename(tests / file)
    (tests / "__init__.py").touch()
    (tests / "helpers.py").write_text((Path(__file__).parent / "helpers.py").read_text())


def _pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True)


def _run(directory: Path, url: str, stock: bool, arguments: tuple[str, ...]) -> int:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (directory, directory / "packages", BACKEND))),
        "CONFORMANCE_REDIS_URL": url,
        "CONFORMANCE_STOCK": "1" if stock else "",
    }
    (directory / "swapped.py").write_text((Path(__file__).parent / "swapped.py").read_text())
    left_out = " or ".join(f"({each})" for each in UNSTEADY)
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(directory), "-q", "-p", "no:asyncio"]
    command += ["-p", "swapped", "-W", "ignore", "-k", f"not ({left_out})", *arguments]
    command += [str(directory / "tests" / file) for file in FILES]
    return subprocess.run(command, cwd=directory, env=environment, check=False).returncode


if __name__ == "__main__":
    main()
