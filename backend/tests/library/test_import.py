"""`import saqueduct` is cheap: what is heavy loads when it is used."""

import subprocess
import sys

import pytest

import saqueduct

HEAVY = ("dishka", "litestar", "rich", "sqlalchemy")


def loaded(code: str) -> set[str]:
    """The heavy packages that a fresh process has loaded after this code."""
    script = f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_import_loads_nothing_heavy() -> None:
    assert loaded("import saqueduct") == set()


def test_the_import_takes_at_most_0_4_seconds() -> None:
    code = "import time; began = time.process_time(); import saqueduct; print(time.process_time() - began)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.4


@pytest.mark.parametrize("name", ["task", "Schedule", "Queues", "EngineQueue"])
def test_tasks_and_queues_need_no_database(name: str) -> None:
    assert not loaded(f"from saqueduct import {name}") & {"litestar", "rich", "sqlalchemy"}


@pytest.mark.parametrize("name", saqueduct.__all__)
def test_each_public_name_exists(name: str) -> None:
    assert getattr(saqueduct, name) is not None
    assert name in dir(saqueduct)


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match=r"module 'saqueduct' has no attribute 'tusk'"):
        saqueduct.tusk  # noqa: B018
