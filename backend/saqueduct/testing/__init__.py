"""The test kit: enqueues, runs and inspects jobs, on a real Redis with real workers.

It is a pytest plugin, which pytest finds in every project where `saqueduct` is installed; its fixtures and its marker
are in `saqueduct.testing.plugin`. The names of this package load when they are used first: a project that uses none of
them pays nothing.

PYTEST_DONT_REWRITE: there are no assert statements here, and a conftest may import this first.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saqueduct.testing.kit import JobKit, Journey, Mode
    from saqueduct.testing.plugin import WorkerFixture
    from saqueduct.testing.running import Drained, NotDrained
    from saqueduct.testing.setup import ConfiguredSetup, QueueSetup, Setup

__all__ = [
    "ConfiguredSetup",
    "Drained",
    "JobKit",
    "Journey",
    "Mode",
    "NotDrained",
    "QueueSetup",
    "Setup",
    "WorkerFixture",
]

_MODULES = {
    "kit": ("JobKit", "Journey", "Mode"),
    "plugin": ("WorkerFixture",),
    "running": ("Drained", "NotDrained"),
    "setup": ("ConfiguredSetup", "QueueSetup", "Setup"),
}
"""Where the names are defined; the same as above, where type checkers read it."""

_HOME = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
