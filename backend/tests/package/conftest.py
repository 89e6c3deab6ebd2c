"""Builds the wheel, and installs it in fresh virtual environments, once for the process that runs all these tests."""

import hashlib
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.package.installed import Installed

HERE = Path(__file__).resolve().parent
BACKEND = HERE.parents[1]
LOCK = BACKEND / "requirements" / "examples.txt"
"""Versions and hashes of all packages that may be installed here."""

COMPILED = (Path(sysconfig.get_path("purelib")), BACKEND)
"""Folders with packages that this environment has compiled."""

EXTRAS = ("cli", "dishka", "embedded", "otel", "prometheus", "pydantic", "testing")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("package")


@pytest.fixture(scope="package")
def directory() -> Iterator[Path]:
    """Not in pytest's own folder: each start of pytest closes that to other users, and the PostgreSQL in an environment
    runs as one.
    """
    with tempfile.TemporaryDirectory(prefix="saqueduct-package-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture(scope="package")
def distributions(directory: Path) -> Path:
    """The folder with the wheel and the sdist, as `make package` builds them."""
    run_uv("build", "--no-index", "--out-dir", directory / "dist")
    return directory / "dist"


@pytest.fixture(scope="package")
def wheel(distributions: Path) -> Path:
    [wheel] = distributions.glob("*.whl")
    return wheel


@pytest.fixture(scope="package")
def bare(directory: Path, wheel: Path) -> Iterator[Installed]:
    """The wheel alone, without extras."""
    with Installed(environment(directory / "bare", wheel), strict=True) as installed:
        yield installed


@pytest.fixture(scope="package")
def full(directory: Path, wheel: Path) -> Iterator[Installed]:
    """The wheel with all of its extras, and FastAPI."""
    with Installed(environment(directory / "full", wheel, EXTRAS, ["fastapi"]), strict=True) as installed:
        yield installed


@pytest.fixture(scope="package")
def with_alchemy(directory: Path, wheel: Path) -> Iterator[Installed]:
    """The same with advanced-alchemy, in an environment of its own: Litestar imports it wherever it is installed. It
    warns of itself.
    """
    with Installed(environment(directory / "with_alchemy", wheel, EXTRAS, ["advanced-alchemy"])) as installed:
        yield installed


def environment(directory: Path, wheel: Path, extras: Sequence[str] = (), beside: Sequence[str] = ()) -> Path:
    """A virtual environment with the wheel; packages that it does not ask for by its own metadata are missing."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    named = f"saqueduct[{','.join(extras)}]" if extras else "saqueduct"
    versions = [locked_version(name) for name in beside]
    run_uv("venv", "--python", sys.executable, directory)
    python = ("--python", directory / "bin" / "python")
    locked = ("--require-hashes", "--constraints", LOCK)
    run_uv("pip", "install", *python, *locked, f"{named} @ {wheel.as_uri()}#sha256={digest}", *versions)
    copy_bytecode(directory / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages")
    return directory


def copy_bytecode(packages: Path) -> None:
    """Copy what is compiled of the same files here, of the modules that this process has loaded: the environment's
    processes need most of them, and would compile them again.

    The lock files name the same versions. Bytecode names the time and the size of its source, and nothing else in it
    depends on where that is.
    """
    for spec in [getattr(module, "__spec__", None) for module in list(sys.modules.values())]:
        for here in COMPILED:
            if spec and spec.origin and spec.cached and spec.origin.startswith(f"{here}/"):
                _adapt(Path(spec.cached), packages / Path(spec.origin).relative_to(here))
                break


def _adapt(compiled: Path, source: Path) -> None:
    with suppress(FileNotFoundError):
        status = source.stat()
        code = compiled.read_bytes()
        if code[12:16] == status.st_size.to_bytes(4, "little"):
            (cache := source.parent / compiled.parent.name).mkdir(exist_ok=True)
            (cache / compiled.name).write_bytes(code[:8] + int(status.st_mtime).to_bytes(4, "little") + code[12:])


def locked_version(name: str) -> str:
    """A package with the version of the lock file, as `--require-hashes` wants it."""
    [found] = re.findall(rf"^({name}==\S+)", LOCK.read_text(), re.MULTILINE)
    return str(found)


def run_uv(*arguments: str | Path) -> None:
    """Run uv of this environment in `backend`.

    Raises:
        AssertionError: it failed; shows what it printed.
    """
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run([uv, "--quiet", *arguments], cwd=BACKEND, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
