"""Sessions on what PostgreSQL keeps, for the commands and the console."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.application import Saqueduct
from saqueduct.errors import NoJobRecords
from saqueduct.postgres.dead_letters import DeadLetters
from saqueduct.postgres.history import JobHistory


@asynccontextmanager
async def transaction(saqueduct: Saqueduct) -> AsyncIterator[AsyncSession]:
    """A session for a block, committed at its end, rolled back on an error.

    Raises:
        NoJobRecords: there is no PostgreSQL.
    """
    if saqueduct.store is None:
        raise NoJobRecords
    async with saqueduct.store.sessions.begin() as session:
        yield session


@asynccontextmanager
async def history(saqueduct: Saqueduct) -> AsyncIterator[JobHistory]:
    """The job records, within a transaction.

    Raises:
        NoJobRecords: there is no PostgreSQL.
    """
    async with transaction(saqueduct) as session:
        yield JobHistory(session, timings=saqueduct.config.timings.postgres, tasks=saqueduct.registry)


@asynccontextmanager
async def dead_letters(saqueduct: Saqueduct) -> AsyncIterator[DeadLetters]:
    """The dead letters, within a transaction, which is confirmed at the end of the block.

    Raises:
        NoJobRecords: there is no PostgreSQL.
        DuplicateJob: see `DeadLetters.confirm`.
    """
    async with transaction(saqueduct) as session:
        letters = DeadLetters(session, saqueduct.queues, saqueduct.registry)
        yield letters
    await letters.confirm()
