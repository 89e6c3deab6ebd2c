"""Requests while PostgreSQL is silent, locked, or out of connections: 503 with Retry-After, within seconds."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from app.db.session import make_engine
from app.settings import Settings, load_settings
from saqueduct import Queues, QueueUnavailable, get_registry
from saqueduct.common.secret import Secret
from saqueduct.litestar.links import JobLinks
from saqueduct.litestar.services import QueueServices
from saqueduct.postgres.engine import make_engine as make_library_engine
from saqueduct.postgres.outage import outage_in
from saqueduct.timings import PostgresTimings
from tests.chaos.proxy import Network
from tests.db.conftest import visiting, waiting_for
from tests.fixtures.poll import eventually

WITHIN = 12.0
"""Seconds for an answer: limits of three seconds together, and the rest for a busy machine."""


SHOWN = ("lock_timeout", "statement_timeout")


async def get_all(visitor: httpx.AsyncClient) -> list[str]:
    """Every GET route there is, with something for each parameter."""
    schema = (await visitor.get("/schema/openapi.json")).json()
    return [re.sub(r"\{[^}]*\}", "1", path) for path, methods in schema["paths"].items() if "get" in methods]


def refused(answers: list[httpx.Response]) -> list[httpx.Response]:
    """Those that say that the database is away."""
    assert [answer.request.url.path for answer in answers if answer.status_code == 500] == []
    away = [each for each in answers if each.status_code == 503 and each.request.url.path != "/health/ready"]
    assert all(int(answer.headers["retry-after"]) > 0 for answer in away)
    assert {answer.json()["code"] for answer in away} <= {"database-unavailable"}
    return away


async def answered(visitor: httpx.AsyncClient, paths: list[str]) -> list[httpx.Response]:
    """The answers, each of which came in time."""
    begun = time.monotonic()
    answers = await asyncio.gather(*(visitor.get(path) for path in paths))
    assert time.monotonic() - begun < WITHIN
    return answers


async def test_every_route_answers_while_postgresql_is_silent(visitor: httpx.AsyncClient, network: Network) -> None:
    paths = await get_all(visitor)
    await eventually(lambda: _is_there(visitor))
    network.silent = True
    away = refused(await answered(visitor, paths))
    assert {"/jobs", "/jobs/1", "/jobs/1/records", "/jobs/dead"} & {each.request.url.path for each in away}
    network.silent = False
    await eventually(lambda: _is_there(visitor))


async def _is_there(visitor: httpx.AsyncClient) -> bool:
    """Whether PostgreSQL answers within the limits, which are short for a busy machine."""
    return (await visitor.get("/jobs/none")).status_code == 404


async def test_a_request_whose_statement_is_under_way_is_answered_too(
    visitor: httpx.AsyncClient, network: Network, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE job_records IN ACCESS EXCLUSIVE MODE"))
        asking = asyncio.create_task(answered(visitor, ["/jobs/none"]))
        await waiting_for(engine, "job_records")
        network.silent = True
    [answer] = await asking
    assert answer.status_code == 503


@pytest.fixture
async def unlimited(environment: dict[str, str], network: Network) -> AsyncIterator[AsyncEngine]:
    """As the library's own connections: the server has no limit for a statement."""
    url = make_url(environment["DATABASE_URL"])
    through = f"postgresql://{url.username}@127.0.0.1:{network.port}/{url.database}"
    engine = make_library_engine(through, pool_size=1, connect_timeout=1.0)
    yield engine
    await engine.dispose()


@pytest.mark.timings(postgres=PostgresTimings(search=0.5, transaction=0.5))
async def test_a_request_of_the_queue_has_a_limit_of_its_own_for_a_statement_that_is_under_way(
    queues: Queues, unlimited: AsyncEngine, network: Network
) -> None:
    sessions = async_sessionmaker(unlimited)
    services = QueueServices(queues, get_registry(), JobLinks(Secret("tests only")), sessions)

    async def ask() -> None:
        async with asyncio.timeout(30), services.transaction() as session:
            await session.execute(text("SELECT 1"))
            network.silent = True
            await session.execute(text("SELECT 2"))

    with pytest.raises(QueueUnavailable, match="PostgreSQL: no answer within 1 s"):
        await ask()


async def test_the_test_of_a_connection_has_a_limit(unlimited: AsyncEngine, network: Network) -> None:
    async with unlimited.connect() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        network.silent = True
        # As SQLAlchemy does it, after a BEGIN that the server has still answered.
        with pytest.raises(asyncpg.ConnectionFailureError, match="has not answered for 1 s"):
            await asyncio.wait_for(raw.fetchrow(";"), 30)


async def test_a_lock_on_the_records_is_503_after_the_lock_timeout(
    visitor: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE job_records IN ACCESS EXCLUSIVE MODE"))
        away = refused(await answered(visitor, ["/jobs/none", "/jobs"]))
    assert len(away) == 2


async def test_a_pool_without_free_connections_is_503(visitor: httpx.AsyncClient, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE job_records IN ACCESS EXCLUSIVE MODE"))
        away = refused(await answered(visitor, ["/jobs/none"] * 60))
    assert len(away) == 60


async def test_with_no_server_it_is_503(environment: dict[str, str], queues: Queues, engine: AsyncEngine) -> None:
    nowhere = load_settings({**environment, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
    async with visiting(nowhere) as visitor:
        [answer] = refused(await answered(visitor, ["/jobs/none"]))
    assert answer.headers["content-type"].startswith("application/problem+json")


async def test_a_script_that_begins_a_transaction_has_all_the_time_it_needs(impatient: Settings) -> None:
    engine = make_engine(impatient)
    try:
        async with engine.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            assert await raw.execute("BEGIN; SELECT pg_sleep(1.3); COMMIT") == "COMMIT"
    finally:
        await engine.dispose()


@pytest.mark.parametrize("pgbouncer", ["on", "off"])
async def test_the_server_knows_the_limits_in_every_transaction(environment: dict[str, str], pgbouncer: str) -> None:
    limits = {"DATABASE_LOCK_TIMEOUT": "7", "DATABASE_PGBOUNCER": pgbouncer}
    engine = make_engine(load_settings({**environment, **limits}), statement_timeout=9)
    try:
        for _ in range(2):
            async with engine.begin() as connection:
                shown = [(await connection.execute(text(f"SHOW {name}"))).scalar_one() for name in SHOWN]
            assert shown == ["7s", "9s"]
    finally:
        await engine.dispose()


@pytest.mark.parametrize("statement", ["SELECT 1 / 0", "SELECT nothing", "SELECT 1 FROM nowhere", "SELECT pg_sleep(9)"])
async def test_an_error_of_a_statement_is_no_outage(settings: Settings, statement: str) -> None:
    engine = make_engine(settings, statement_timeout=1)
    try:
        with pytest.raises(Exception, match=r".+") as caught:
            async with engine.begin() as connection:
                await connection.execute(text(statement))
        assert outage_in(caught.value) == ""
    finally:
        await engine.dispose()


async def test_a_lock_that_a_statement_does_not_wait_for_is_no_outage(engine: AsyncEngine) -> None:
    async with engine.begin() as connection, engine.connect() as other:
        await connection.execute(text("LOCK TABLE job_records IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(Exception, match="job_records") as caught:
            await other.execute(text("LOCK TABLE job_records IN SHARE MODE NOWAIT"))
    assert outage_in(caught.value) == ""


async def _fails(statement: str, engine: AsyncEngine) -> Any:
    with pytest.raises(Exception, match=r".+") as caught:
        async with engine.begin() as connection:
            await connection.execute(text(statement))
    return caught.value


@pytest.mark.parametrize(("state", "away"), [(2, True), (11, False)], ids=["it ends", "another statement"])
async def test_a_statement_while_asyncpg_reads_why_the_server_ends_the_connection_is_an_outage(
    state: int, away: bool, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Raised where asyncpg raises it: the moment between that error and the end of the connection cannot be met at will.
    async def busy(*_: Any, **__: Any) -> None:
        raise asyncpg.InternalClientError(f"cannot switch to state 11; another operation ({state}) is in progress")

    async with engine.connect() as connection:
        monkeypatch.setattr(asyncpg.Connection, "prepare", busy)
        with pytest.raises(Exception, match=r".+") as caught:
            await connection.execute(text("SELECT 1"))
        monkeypatch.undo()
    assert bool(outage_in(caught.value)) is away


async def test_a_connection_that_the_server_ends_is_an_outage(engine: AsyncEngine) -> None:
    assert outage_in(await _fails("SELECT pg_terminate_backend(pg_backend_pid())", engine))
