"""The application that a command works on."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import click

from saqueduct.application import Saqueduct
from saqueduct.config import SaqueductConfig
from saqueduct.tasks.registry import TaskRegistry, get_registry


class Target:
    """The application of a command line; loaded when a command first asks for it.

    Args:
        find: loads it.
    """

    def __init__(self, find: Callable[[], Saqueduct | SaqueductConfig]) -> None:
        self._find = find

    @functools.cached_property
    def _found(self) -> Saqueduct | SaqueductConfig:
        return self._find()

    @functools.cached_property
    def saqueduct(self) -> Saqueduct:
        """Queues, tasks and PostgreSQL, not connected yet.

        Raises:
            ConfigurationError: it cannot be found or built.
        """
        return self._found if isinstance(self._found, Saqueduct) else Saqueduct(self._found)

    @property
    def registry(self) -> TaskRegistry:
        """Its tasks; they can be read where no server is named.

        Raises:
            ConfigurationError: it cannot be found.
        """
        registry: TaskRegistry | None = self._found.registry
        return get_registry() if registry is None else registry


def target() -> Target:
    """That of the command which runs."""
    found = click.get_current_context().find_object(Target)
    assert found is not None, "the command was called without its group"  # noqa: S101
    return found


def connected(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a click callback of a coroutine function that takes a connected Saqueduct first."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        saqueduct = target().saqueduct

        async def serve() -> None:
            async with saqueduct:
                await command(saqueduct, *args, **kwargs)

        asyncio.run(serve())

    return run
