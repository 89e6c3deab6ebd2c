"""Types of PostgreSQL that a connection has not seen: built-in ones are asked for once in a process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from saqueduct.postgres.connection import Connection, connect

ARRAYS = "SELECT $1::bigint[], $2::timestamptz[]"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Connection]:
    """A new connection for a block."""
    connection = await connect(url, patience=20, **options)
    try:
        yield connection
    finally:
        await connection.close()


async def asked(connection: Connection, statement: str, *values: Any) -> tuple[Any, list[str]]:
    """The row that a statement answers with, and all that is sent for it."""
    sent: list[str] = []
    with connection.query_logger(lambda query: sent.append(query.query)):
        row = await connection.fetchrow(statement, *values)
    return row, sent


async def test_a_connection_does_not_ask_for_built_in_types_that_another_one_has_used(database_url: str) -> None:
    async with connected(database_url) as first, connected(database_url) as second:
        await first.fetchrow(ARRAYS, [1], [NOW])
        row, sent = await asked(second, ARRAYS, [2, 3], [NOW])
    assert (list(row), sent) == ([[2, 3], [NOW]], [ARRAYS])


async def test_known_types_serve_statements_that_are_not_kept(database_url: str) -> None:
    """As behind a PgBouncer."""
    for number in range(2):
        async with connected(database_url, statement_cache_size=0) as connection:
            row, _ = await asked(connection, ARRAYS, [number], [NOW])
            assert list(row) == [[number], [NOW]]


async def test_a_type_of_a_database_is_asked_for_on_each_connection_because_it_can_change(empty_url: str) -> None:
    async with connected(empty_url) as first:
        await first.execute("CREATE TYPE pair AS (a int)")
        assert await first.fetchval("SELECT ROW(1)::pair") == (1,)
        await first.execute("ALTER TYPE pair ADD ATTRIBUTE b int")
    async with connected(empty_url) as second:
        assert await second.fetchval("SELECT ROW(1, 2)::pair") == (1, 2)
