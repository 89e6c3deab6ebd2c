"""A command that uses connected queues."""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from saqueduct.application import Saqueduct
from saqueduct.cli.target import target
from saqueduct.errors import QueueUnavailable
from saqueduct.postgres.outage import is_database_error


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
