"""Direct connections: single statements, each a transaction of its own."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.settings import Settings
from saqueduct.postgres.direct import DirectConnections
from saqueduct.postgres.engine import make_engine, sqlalchemy_url

PID = "SELECT pg_backend_pid() AS value"


@pytest.fixture
async def theirs(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """An engine of an application with settings of its own."""
    server_settings = {"default_transaction_isolation": "serializable"}
    engine = create_async_engine(
        sqlalchemy_url(settings.database.url.reveal()), pool_size=1, max_overflow=0,
        connect_args={"server_settings": server_settings},
    )  # fmt: skip
    yield engine
    await engine.dispose()


@pytest.fixture
async def direct(theirs: AsyncEngine) -> AsyncIterator[DirectConnections]:
    connections = DirectConnections(theirs, 2, pgbouncer=False)
    yield connections
    await connections.close()


async def value(direct: DirectConnections, statement: str, *args: object, seconds: float = 60.0) -> object:
    [row] = await direct.fetch(statement, *args, seconds=seconds)
    return row["value"]


async def test_a_connection_is_used_again(direct: DirectConnections) -> None:
    assert await value(direct, PID) == await value(direct, PID)


async def test_they_do_not_count_as_connections_of_the_pool(theirs: AsyncEngine, direct: DirectConnections) -> None:
    await value(direct, PID)
    async with theirs.connect() as connection:
        assert (await connection.exec_driver_sql("SELECT 1")).scalar_one() == 1


async def test_no_more_are_opened_than_allowed(direct: DirectConnections) -> None:
    pids = await asyncio.gather(*(value(direct, PID) for _ in range(20)))
    assert len(set(pids)) <= 2


@pytest.mark.parametrize("pgbouncer", [False, True])
async def test_its_transactions_are_read_committed(theirs: AsyncEngine, pgbouncer: bool) -> None:
    connections = DirectConnections(theirs, 1, pgbouncer=pgbouncer)
    query = "SELECT current_setting('transaction_isolation') AS value"
    assert await value(connections, query) == "read committed"
    await connections.close()


async def test_without_a_server_the_error_is_one_of_the_driver() -> None:
    engine = make_engine("postgresql://127.0.0.1:1/none", pool_size=1, connect_timeout=5.0)
    connections = DirectConnections(engine, 1, pgbouncer=False)
    with pytest.raises(asyncpg.ClientCannotConnectError, match=r"PostgreSQL cannot be reached"):
        await value(connections, PID)
    await engine.dispose()


async def test_a_statement_that_takes_too_long_leaves_no_connection_behind(direct: DirectConnections) -> None:
    before = await value(direct, PID)
    with pytest.raises(TimeoutError, match="no answer within"):
        await direct.fetch("SELECT pg_sleep(60)", seconds=0.2)
    assert await value(direct, PID) != before


async def test_a_refused_statement_costs_no_connection(direct: DirectConnections) -> None:
    before = await value(direct, PID)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await direct.fetch("SELECT 1 / 0", seconds=60.0)
    assert await value(direct, PID) == before


async def test_one_that_the_server_has_closed_is_replaced(theirs: AsyncEngine, direct: DirectConnections) -> None:
    before = await value(direct, PID)
    async with theirs.connect() as connection:
        await connection.exec_driver_sql(f"SELECT pg_terminate_backend({before}, 60000)")
    assert await value(direct, PID) != before


@pytest.mark.usefixtures("new_connections_only")
async def test_one_that_the_server_is_closing_is_replaced(
    direct: DirectConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await value(direct, PID)
    refusals = [asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")]
    fetch = asyncpg.Connection.fetch

    async def refuse_once(connection: asyncpg.Connection, *args: object) -> object:
        if refusals:
            raise refusals.pop()
        return await fetch(connection, *args)

    monkeypatch.setattr(asyncpg.Connection, "fetch", refuse_once)
    assert await value(direct, PID) != before
