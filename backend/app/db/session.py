"""Engine and sessions. One request or job is one transaction, ended at its edge.

A session from the container commits when its scope closes without an error, and rolls back otherwise. Services
flush, they never commit.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from app.settings import Settings

SessionMaker = async_sessionmaker[AsyncSession]


def make_engine(settings: Settings) -> AsyncEngine:
    """The process's engine; connections are tested before use, so a restarted server costs no request."""
    return create_async_engine(
        settings.sqlalchemy_url,
        pool_size=settings.database.pool_size,
        max_overflow=settings.database.pool_size,
        pool_pre_ping=True,
        connect_args={"timeout": 5, "server_settings": {"application_name": "saqueduct"}},
    )


def make_sessionmaker(engine: AsyncEngine) -> SessionMaker:
    """Sessions whose objects stay readable after commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def transaction(maker: SessionMaker) -> AsyncIterator[AsyncSession]:
    """A session of its own for a block: committed at its end, rolled back on an error."""
    async with maker() as session, session.begin():
        yield session
