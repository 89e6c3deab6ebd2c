"""The application that a command uses."""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import click

from saqueduct.application import Saqueduct
from saqueduct.config import SaqueductConfig
from saqueduct.errors import QueueUnavailable
from saqueduct.postgres.outage import is_database_error
from saqueduct.tasks.registry import TaskRegistry, get_registry


class FoundApplication(NamedTuple):
    """An application that was found."""

    application: Saqueduct | SaqueductConfig
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
    def saqueduct(self) -> Saqueduct:
        """Queues, tasks and PostgreSQL, not connected yet.

        Raises:
            ConfigurationError: it cannot be found or built.
        """
        found = self._found.application
        return found if isinstance(found, Saqueduct) else Saqueduct(found)

    @property
    def lifespans(self) -> Sequence[AbstractAsyncContextManager[Any]]:
        """What else its tasks need in a worker process.

        Raises:
            ConfigurationError: it cannot be found.
        """
        return self._found.lifespans

    @property
    def registry(self) -> TaskRegistry:
        """Its tasks; they can be read without any server.

        Raises:
            ConfigurationError: it cannot be found.
        """
        registry: TaskRegistry | None = self._found.application.registry
        return get_registry() if registry is None else registry


def target() -> Target:
    """The application of the running command."""
    found = click.get_current_context().find_object(Target)
    assert found is not None, "the command was called without its group"  # noqa: S101
    return found


def connected(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a click callback of a coroutine function that takes a connected Saqueduct first."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        async def serve(saqueduct: Saqueduct) -> None:
            async with connection(saqueduct):
                await command(saqueduct, *args, **kwargs)

        with only_warnings():
            asyncio.run(serve(target().saqueduct))

    return run


@asynccontextmanager
async def connection(saqueduct: Saqueduct) -> AsyncIterator[None]:
    """Connect the queues for a block. The tables in PostgreSQL may be missing if nothing in the block needs them.

    Raises:
        TablesMissing, TablesOutdated: the block failed because of the tables.
    """
    await saqueduct.connect(check_tables=False)
    try:
        async with naming_tables(saqueduct):
            yield
    finally:
        await saqueduct.disconnect()


@asynccontextmanager
async def naming_tables(saqueduct: Saqueduct) -> AsyncIterator[None]:
    """If a block fails because tables are missing or too old, say so.

    Raises:
        TablesMissing, TablesOutdated: instead of PostgreSQL's own error.
    """
    try:
        yield
    except Exception as error:
        if saqueduct.store is not None and (is_database_error(error) or isinstance(error, QueueUnavailable)):
            await saqueduct.store.check()
        raise


@contextmanager
def only_warnings() -> Iterator[None]:
    """Log nothing below warnings in a block, regardless of the application's logging configuration."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
