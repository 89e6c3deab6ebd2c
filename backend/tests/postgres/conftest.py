"""An empty database for each test."""

import itertools
import os
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from saqueduct.postgres.engine import sqlalchemy_url

_numbers = itertools.count()


@pytest.fixture
async def empty_url(database_url: str) -> AsyncIterator[str]:
    """URL of a database without tables."""
    name = f"empty_{os.getpid()}_{next(_numbers)}"
    await run_sql(database_url, f"CREATE DATABASE {name}")
    yield make_url(database_url).set(database=name).render_as_string(hide_password=False)
    await run_sql(database_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def empty_database(empty_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on it."""
    engine = create_async_engine(sqlalchemy_url(empty_url))
    yield engine
    await engine.dispose()


async def run_sql(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
