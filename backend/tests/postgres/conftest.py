"""An empty database for each test."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from saqueduct.postgres.engine import sqlalchemy_url
from tests.postgres.empty_databases import empty_database_of


@pytest.fixture
async def empty_url(database_url: str) -> AsyncIterator[str]:
    """URL of a database without tables."""
    async with empty_database_of(database_url) as url:
        yield url


@pytest.fixture
async def empty_database(empty_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on it."""
    engine = create_async_engine(sqlalchemy_url(empty_url))
    yield engine
    await engine.dispose()
