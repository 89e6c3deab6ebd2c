"""Engine and sessions. One request or job is one transaction, ended at its edge.

A session from the container commits when its scope closes without an error, and rolls back otherwise. Services
flush, they never commit.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from app.settings import Settings

SessionMaker = async_sessionmaker[AsyncSession]


def make_engine(settings: Settings, pool_size: int | None = None) -> AsyncEngine:
    """An engine of the process; connections are tested before use, so a restarted server costs no request.

    Its errors do not tell the values of a statement: among them are the arguments of jobs, also redacted ones.

    Args:
        settings: of this process.
        pool_size: connections it keeps open, and may open besides; DATABASE_POOL_SIZE by default.
    """
    size = pool_size or settings.database.pool_size
    arguments: dict[str, Any] = {"timeout": 5, "server_settings": {"application_name": "saqueduct"}}
    if settings.database.pgbouncer == "on":
        # The next statement may run on another connection of the server's, which knows no statement prepared before.
        arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        arguments["prepared_statement_name_func"] = lambda: f"s{uuid.uuid4().hex}"
    return create_async_engine(
        settings.sqlalchemy_url,
        pool_size=size,
        max_overflow=size,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=arguments,
    )


def make_sessionmaker(engine: AsyncEngine) -> SessionMaker:
    """Sessions whose objects stay readable after commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def transaction(maker: SessionMaker) -> AsyncIterator[AsyncSession]:
    """A session of its own for a block: committed at its end, rolled back on an error."""
    async with maker() as session, session.begin():
        yield session
