"""The tables of the library in a PostgreSQL for tests: made once per run, emptied before each test."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg

from saqueduct.postgres.migrate import upgrade
from saqueduct.postgres.models import metadata

EMPTY = "; ".join(f'DELETE FROM "{table.name}"' for table in reversed(metadata.sorted_tables))  # noqa: S608  (own names)
"""Faster than a TRUNCATE, which makes new files."""


def make_tables(url: str) -> None:
    """Create the tables of the library, or upgrade them; blocks."""
    _blocking(upgrade(url))


def empty_tables(url: str) -> None:
    """Delete all rows of the tables of the library; blocks."""
    _blocking(_execute(url, EMPTY))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _blocking(call: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, in a thread: pytest-asyncio keeps an event loop of its own in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, call).result()
