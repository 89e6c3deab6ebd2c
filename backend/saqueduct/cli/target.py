"""The application of a command line."""

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from saqueduct.application import Saqueduct
    from saqueduct.config import SaqueductConfig
    from saqueduct.tasks.registry import TaskRegistry


class FoundApplication(NamedTuple):
    """An application that was found."""

    application: "Saqueduct | SaqueductConfig"
    lifespans: Sequence[AbstractAsyncContextManager[Any]] = ()
    """What else its tasks need in a worker process."""


class Target:
    """The application of a command line; loaded when a command first asks for it.

    Args:
        find: loads it.
    """

    def __init__(self, find: Callable[[], FoundApplication]) -> None:
        self._find = find

    @functools.cached_property
    def _found(self) -> FoundApplication:
        return self._find()

    @functools.cached_property
    def saqueduct(self) -> "Saqueduct":
        """Queues, tasks and PostgreSQL, not connected yet.

        Raises:
            ConfigurationError: it cannot be found or built.
        """
        found = self._found.application
        # Here: a help page needs no queues.
        from saqueduct.application import Saqueduct

        return found if isinstance(found, Saqueduct) else Saqueduct(found)

    @property
    def lifespans(self) -> Sequence[AbstractAsyncContextManager[Any]]:
        """What else its tasks need in a worker process.

        Raises:
            ConfigurationError: it cannot be found.
        """
        return self._found.lifespans

    @property
    def registry(self) -> "TaskRegistry":
        """Its tasks; they can be read without any server.

        Raises:
            ConfigurationError: it cannot be found.
        """
        registry: TaskRegistry | None = self._found.application.registry
        from saqueduct.tasks.registry import get_registry

        return get_registry() if registry is None else registry


def target() -> Target:
    """The application of the running command."""
    found = click.get_current_context().find_object(Target)
    assert found is not None, "the command was called without its group"  # noqa: S101
    return found
