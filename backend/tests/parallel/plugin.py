"""`pytest --processes 8`: run the tests on several processes, forked from one that has collected them.

To import and to collect all tests takes eight seconds of processor time, which each process of pytest-xdist spends for
itself. A fork has it all, and so more processes cost little; while tests wait in some of them, others compute.
"""

import importlib
import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.parallel.blocks import blocks
from tests.parallel.options import processes
from tests.parallel.run import Run


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--processes", type=int, default=1, help="run the tests on so many processes")


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Compile the test modules on two processors."""
    if processes(session.config) > 1:
        _compile(_modules(session.config))


def _compile(modules: list[Path]) -> None:
    """Let another process import the second half of the test modules, if they are not compiled yet.

    In a fresh checkout that takes as long as all the rest of the collection, because assertions are rewritten.
    """
    second = modules[len(modules) // 2 :]
    if any((module.parent / "__pycache__").glob(f"{module.stem}.*pytest*") for module in second) or os.fork():
        return
    root = Path.cwd()
    for module in second:
        # The collection reports it.
        with suppress(BaseException):
            importlib.import_module(".".join(module.relative_to(root).with_suffix("").parts))
    os._exit(0)


def _modules(config: pytest.Config) -> list[Path]:
    named = [Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args]
    return [file for path in named for file in (sorted(path.rglob("test_*.py")) if path.is_dir() else [path])]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests on several processes, unless there is nothing to run."""
    if processes(session.config) < 2 or session.testsfailed or session.config.option.collectonly:
        return None
    Run(session, blocks(session.items)).on(processes(session.config))
    return True
