"""What the wheel and the sdist hold, and that the wheel asks for all that it imports."""

import email
import json
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from tests.library.test_import import OF_EXTRAS
from tests.package.conftest import BACKEND
from tests.package.installed import Installed


def source_files() -> set[str]:
    """Paths of the library's own files in its distributions."""
    paths = (path for path in (BACKEND / "saqueduct").rglob("*") if path.is_file())
    return {str(path.relative_to(BACKEND)) for path in paths if "__pycache__" not in path.parts}


@pytest.fixture
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_holds_the_library_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}
    assert names == source_files()
    assert {"saqueduct/py.typed", "saqueduct/broker/lua/enqueue.lua"} <= names


def test_the_sdist_holds_the_library_and_what_builds_it(distributions: Path) -> None:
    [path] = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    beside = {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    assert names - {"pyproject.toml.orig"} == source_files() | beside


def test_the_index_page_is_complete_and_has_no_addresses(metadata: Message) -> None:
    assert metadata["Name"] == "saqueduct"
    assert metadata["Summary"]
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    text = str(metadata.get_payload())
    assert "pip install saqueduct" in text
    assert "http" not in text.replace("http://127.0.0.1", "").replace("HTTP", "")
    assert metadata.get_all("Project-URL") is None


def test_the_extras_are_those_of_the_documents(metadata: Message) -> None:
    page = (BACKEND.parent / "docs" / "how-to" / "extras.md").read_text()
    extras = metadata.get_all("Provides-Extra", [])
    assert extras
    assert [name for name in extras if f"## `{name}`" not in page] == []
    table = (BACKEND / "README.md").read_text()
    assert [name for name in extras if f"| `{name}` |" not in table] == []


def test_the_licence_is_that_of_the_repository() -> None:
    assert (BACKEND / "LICENSE").read_text() == (BACKEND.parent / "LICENSE").read_text()


def test_the_library_is_imported_from_the_wheel(bare: Installed, tmp_path: Path) -> None:
    where = bare.run("python", "-c", "import saqueduct; print(saqueduct.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(bare.directory)


def test_all_names_can_be_imported_without_the_extras(bare: Installed, tmp_path: Path) -> None:
    code = f"""
import importlib.util
print([name for name in {OF_EXTRAS} if importlib.util.find_spec(name)])
from saqueduct import *
from saqueduct.blocking import *
from saqueduct.litestar import *
print(*dir())
"""
    extras, names = bare.run("python", "-c", code, cwd=tmp_path).splitlines()
    assert extras == "[]"
    assert {"SaqueductPlugin", "BlockingContainer", "task"} <= set(names.split())
    assert "FromDishka" not in names.split()


# The migrations are loaded by Alembic only.


def test_every_module_but_those_of_extras_loads_without_them(bare: Installed, tmp_path: Path) -> None:
    code = """
import importlib, json, pkgutil, saqueduct
missing = {}
for module in pkgutil.walk_packages(saqueduct.__path__, "saqueduct."):
    if module.name.endswith("__main__") or module.name.startswith("saqueduct.postgres.migrations."):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing[module.name] = error.name
print(json.dumps(missing))
"""
    missing = json.loads(bare.run("python", "-W", "error", "-c", code, cwd=tmp_path))
    of_extras = (
        "saqueduct.embedded",
        "saqueduct.injection.dishka",
        "saqueduct.litestar.routes.metrics",
        "saqueduct.telemetry.attempt_spans",
        "saqueduct.telemetry.metrics_port",
        "saqueduct.telemetry.opentelemetry",
        "saqueduct.telemetry.prometheus",
        "saqueduct.telemetry.sampling",
        "saqueduct.telemetry.sent_spans",
        "saqueduct.telemetry.span_attributes",
        "saqueduct.telemetry.trace_context",
        "saqueduct.telemetry.tracing",
        "saqueduct.testing",
    )
    assert {name: package for name, package in missing.items() if not name.startswith(of_extras)} == {}


def test_every_module_loads_with_all_extras(full: Installed, tmp_path: Path) -> None:
    code = """
import importlib, pkgutil, saqueduct
for module in pkgutil.walk_packages(saqueduct.__path__, "saqueduct."):
    if not module.name.endswith("__main__") and not module.name.startswith("saqueduct.postgres.migrations."):
        importlib.import_module(module.name)
print("all")
"""
    assert full.run("python", "-W", "error", "-c", code, cwd=tmp_path).endswith("all\n")
