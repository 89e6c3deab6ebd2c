"""Transactions of requests: ended before the response is sent."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

logger = logging.getLogger("saqueduct.http")

Sessions = Callable[[], AbstractAsyncContextManager["AsyncSession"]]
"""Opens a session, such as an `async_sessionmaker` does."""


@asynccontextmanager
async def transaction(sessions: Sessions) -> "AsyncIterator[AsyncSession]":
    """A session for a block, committed at its end, rolled back on an error."""
    async with sessions() as session:
        try:
            yield session
        except BaseException:
            await roll_back(session)
            raise
        await session.commit()


async def roll_back(session: "AsyncSession") -> None:
    """Roll back, also while PostgreSQL is unavailable, so that the response is the original error."""
    try:
        await session.rollback()
    except Exception as error:
        logger.warning("a transaction could not be rolled back, its connection is closed: %s", error)
        await session.invalidate()
