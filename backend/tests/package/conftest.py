"""Builds the wheel, and installs it in fresh virtual environments, once for all processes of a test run."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.package.installed import Installed
from tests.parallel.process import NUMBER

BACKEND = Path(__file__).resolve().parents[2]
LOCK = BACKEND / "requirements" / "examples.txt"
"""Versions and hashes of all packages that may be installed here."""

COMPILED = (Path(sysconfig.get_path("purelib")), BACKEND)
"""Folders with packages that this environment has compiled."""

EXTRAS = ("cli", "dishka", "embedded", "otel", "prometheus", "pydantic", "testing")


@pytest.fixture(scope="session")
def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One for all processes of a run, removed by the last of them.

    Not in pytest's own folder: each start of pytest closes that to other users, and the PostgreSQL in an environment
    runs as one.
    """
    base = tmp_path_factory.getbasetemp()
    run = base.parent if NUMBER in os.environ else base
    with (run / "package.users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        directory = _made_once(run / "package")
        yield directory
        with suppress(BlockingIOError):
            # Another process still has its shared lock.
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)


def _made_once(link: Path) -> Path:
    """A temporary folder to which `link` leads, made by the first process that asks."""
    with link.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(tempfile.mkdtemp(prefix="saqueduct-package-"))
    return link.resolve()


@pytest.fixture(scope="session")
def distributions(shared_directory: Path) -> Path:
    """The folder with the wheel and the sdist, as `make package` builds them."""
    with first_only(shared_directory / "dist") as directory:
        if directory is not None:
            run_uv("build", "--no-index", "--out-dir", directory)
    return shared_directory / "dist"


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    [wheel] = distributions.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def bare(shared_directory: Path, wheel: Path) -> Installed:
    """The wheel alone, without extras."""
    return environment(shared_directory / "bare", wheel)


@pytest.fixture(scope="session")
def full(shared_directory: Path, wheel: Path) -> Installed:
    """The wheel with all of its extras, and FastAPI."""
    return environment(shared_directory / "full", wheel, EXTRAS, ["fastapi"])


@pytest.fixture(scope="session")
def with_alchemy(shared_directory: Path, wheel: Path) -> Installed:
    """The same with advanced-alchemy, in an environment of its own: Litestar imports it wherever it is installed."""
    return environment(shared_directory / "with_alchemy", wheel, EXTRAS, ["advanced-alchemy"])


def environment(directory: Path, wheel: Path, extras: Sequence[str] = (), beside: Sequence[str] = ()) -> Installed:
    """A virtual environment with the wheel; packages that it does not ask for by its own metadata are missing."""
    with first_only(directory) as new:
        if new is not None:
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            named = f"saqueduct[{','.join(extras)}]" if extras else "saqueduct"
            versions = [locked_version(name) for name in beside]
            run_uv("venv", "--python", sys.executable, new)
            python = ("--python", new / "bin" / "python")
            locked = ("--require-hashes", "--constraints", LOCK)
            run_uv("pip", "install", *python, *locked, f"{named} @ {wheel.as_uri()}#sha256={digest}", *versions)
            copy_bytecode(new / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages")
    return Installed(directory)


def copy_bytecode(packages: Path) -> None:
    """Copy what is compiled of the same files here: processes would compile them again in each environment.

    The lock files name the same versions. Bytecode names the time and the size of its source, and nothing else in it
    depends on where that is.
    """
    for parent, _, names in os.walk(packages):
        for here in COMPILED:
            compiled = Path(here, os.path.relpath(parent, packages), "__pycache__")
            if names and compiled.is_dir():
                (cache := Path(parent, "__pycache__")).mkdir(exist_ok=True)
                for file in compiled.glob(f"*.{sys.implementation.cache_tag}.pyc"):
                    _adapt(file, Path(parent, file.name.partition(".")[0] + ".py"), cache)
                break


def _adapt(compiled: Path, source: Path, cache: Path) -> None:
    code = compiled.read_bytes()
    with suppress(FileNotFoundError):
        status = source.stat()
        if code[12:16] == status.st_size.to_bytes(4, "little"):
            (cache / compiled.name).write_bytes(code[:8] + int(status.st_mtime).to_bytes(4, "little") + code[12:])


def locked_version(name: str) -> str:
    """A package with the version of the lock file, as `--require-hashes` wants it."""
    [found] = re.findall(rf"^({name}==\S+)", LOCK.read_text(), re.MULTILINE)
    return str(found)


@contextmanager
def first_only(directory: Path) -> Iterator[Path | None]:
    """`directory` for the first process, which makes it; None for those after it. It is removed on an error."""
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield None if directory.exists() else directory
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise


def run_uv(*arguments: str | Path) -> None:
    """Run uv of this environment in `backend`.

    Raises:
        AssertionError: it failed; shows what it printed.
    """
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run([uv, "--quiet", *arguments], cwd=BACKEND, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
