"""Engine and sessions. One request or job is one transaction, which ends with it.

A session from the container commits when its scope closes without an error, and rolls back otherwise. Services
flush, they never commit.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

import saqueduct.postgres.engine
from app.settings import Settings

SessionMaker = async_sessionmaker[AsyncSession]


def make_engine(
    settings: Settings, pool_size: int | None = None, *, statement_timeout: int = 0, waits_for_locks: bool = False
) -> AsyncEngine:
    """An engine of the process, see `saqueduct.postgres.engine`.

    Args:
        settings: of this process.
        pool_size: connections it keeps open; as many again may open under load. DATABASE_POOL_SIZE by default.
        statement_timeout: seconds that a SQL statement may take; 0: no limit.
        waits_for_locks: True: wait for locks without a limit, as migrations do.
    """
    database = settings.database
    return saqueduct.postgres.engine.make_engine(
        database.url.reveal(),
        pool_size=pool_size or database.pool_size,
        connect_timeout=database.connect_timeout,
        lock_timeout=0 if waits_for_locks else database.lock_timeout,
        statement_timeout=statement_timeout,
        pgbouncer=database.pgbouncer == "on",
    )


def make_sessionmaker(engine: AsyncEngine) -> SessionMaker:
    """Sessions whose objects stay readable after commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def transaction(maker: SessionMaker) -> AsyncIterator[AsyncSession]:
    """A separate session for a block: committed at its end, rolled back on an error."""
    async with maker() as session, session.begin():
        yield session
