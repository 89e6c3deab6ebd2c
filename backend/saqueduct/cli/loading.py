"""Finds the application that `--app MODULE:NAME` names."""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast, runtime_checkable

from saqueduct.application import Saqueduct
from saqueduct.cli.target import FoundApplication
from saqueduct.config import SaqueductConfig
from saqueduct.errors import ConfigurationError

NEEDED = (
    "it must name a Litestar application with SaqueductPlugin, a Saqueduct, a SaqueductConfig, or a function without "
    "arguments that returns one of these"
)


class AppNotFound(ConfigurationError):
    """`--app` names nothing that the commands can use."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"--app {path}: {problem}")


@runtime_checkable
class HasSaqueduct(Protocol):
    """The part of SaqueductPlugin that is used here."""

    saqueduct: Saqueduct

    def worker_lifespans(self, app: Any) -> Sequence[AbstractAsyncContextManager[Any]]: ...


def load(path: str | None, directory: str | None = None) -> FoundApplication:
    """The application of a path.

    Args:
        path: `module:name`; the name may have dots.
        directory: put on `sys.path`; the current one by default.

    Raises:
        ConfigurationError: there is no such module or name, or it is something else; the message says what was found.
    """
    if not path:
        raise ConfigurationError(
            "which application? Give it as in `saqueduct --app example:app jobs list`, or set SAQUEDUCT_APP"
        )
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name or ":" in name:
        raise AppNotFound(path, "it must be module:name, such as example:app")
    sys.path.insert(0, directory or str(Path.cwd()))
    try:
        return _resolved(_named(_import(module_name, path), name, path), path)
    except OSError as error:
        raise AppNotFound(path, f"it cannot be loaded: {type(error).__name__}: {error}") from error


def _import(name: str, path: str) -> ModuleType:
    if name.endswith(".py") or "/" in name:
        raise AppNotFound(path, "a module is named with dots, without .py, such as shop.main:app")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            # A package that the application imports.
            raise
        raise AppNotFound(
            path,
            f"there is no module {error.name!r} in {sys.path[0]} nor among the installed packages; run the command in "
            "the folder that holds it, or give --app-dir",
        ) from None


def _named(module: ModuleType, name: str, path: str) -> Any:
    try:
        return functools.reduce(getattr, name.split("."), cast("Any", module))
    except AttributeError:
        usable = sorted(each for each, value in vars(module).items() if _is_application(value))
        offered = f"; it has {', '.join(usable)}" if usable else f"; {NEEDED}"
        raise AppNotFound(path, f"the module {module.__name__!r} has no {name!r}{offered}") from None


def _resolved(found: Any, path: str) -> FoundApplication:
    """The application in an object, or in what it returns."""
    if inspect.isroutine(found) or isinstance(found, type | functools.partial):
        found = _called(found, path)
    if isinstance(found, Saqueduct | SaqueductConfig):
        return FoundApplication(found)
    if (plugins := _plugins_of(found)) is None:
        raise AppNotFound(path, f"it is of type {type(found).__qualname__}, but {NEEDED}")
    for plugin in plugins:
        if isinstance(plugin, HasSaqueduct):
            return FoundApplication(plugin.saqueduct, plugin.worker_lifespans(found))
    raise AppNotFound(
        path, "the Litestar application has no SaqueductPlugin: add it with Litestar(plugins=[SaqueductPlugin(...)])"
    )


def _called(factory: Callable[..., Any], path: str) -> Any:
    if inspect.iscoroutinefunction(factory):
        raise AppNotFound(path, f"it is an async function, but {NEEDED}")
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise AppNotFound(path, f"it cannot be called without arguments: {error}; {NEEDED}") from None
    return factory()


def _is_application(value: object) -> bool:
    return isinstance(value, Saqueduct | SaqueductConfig) or _plugins_of(value) is not None


def _plugins_of(value: object) -> Iterable[object] | None:
    """The plugins of a Litestar application; None: the object is something else."""
    if "litestar" not in sys.modules:
        # Litestar is not imported, so the object is no Litestar application; importing Litestar takes a while.
        return None
    from litestar import Litestar

    return value.plugins if isinstance(value, Litestar) else None
