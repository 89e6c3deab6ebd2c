"""An engine of the application, made as it likes: what PostgreSQL does for the queues works on connections like its."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from saq.job import Status
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, StaticPool

from saqueduct import INJECTED, Context, Saqueduct, SaqueductConfig, task
from saqueduct.postgres.engine import sibling, sqlalchemy_url
from tests.fixtures.poll import eventually


def serializable_by_event(url: str) -> AsyncEngine:
    """As an application that sets it on each new connection."""
    engine = create_async_engine(url)

    @event.listens_for(engine.sync_engine, "connect")
    def set_level(connection: Any, _: Any) -> None:
        connection.set_isolation_level("serializable")

    return engine


ENGINES: dict[str, Callable[[str], AsyncEngine]] = {
    "autocommit": lambda url: create_async_engine(url, isolation_level="AUTOCOMMIT"),
    "serializable": lambda url: create_async_engine(url, isolation_level="SERIALIZABLE"),
    "serializable by its connections": serializable_by_event,
    "serializable by the server": lambda url: create_async_engine(
        url, connect_args={"server_settings": {"default_transaction_isolation": "serializable"}}
    ),
    "with options of its own": lambda url: create_async_engine(url).execution_options(isolation_level="AUTOCOMMIT"),
    "without a pool": lambda url: create_async_engine(url, poolclass=NullPool),
    "with one connection": lambda url: create_async_engine(url, poolclass=StaticPool),
    "with a pool of one": lambda url: create_async_engine(
        url, poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0, pool_timeout=1
    ),
    "as for PgBouncer": lambda url: create_async_engine(
        url, poolclass=NullPool, connect_args={"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    ),
}


@pytest.fixture(params=ENGINES)
async def theirs(request: pytest.FixtureRequest, migrated_url: str, engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """The application's engine. (`engine` empties the tables.)"""
    theirs = ENGINES[request.param](sqlalchemy_url(migrated_url))
    yield theirs
    await theirs.dispose()


async def test_the_library_has_transactions_whatever_those_of_the_application_are(theirs: AsyncEngine) -> None:
    ours = sibling(theirs, 2, 20)
    async with ours.connect() as connection:
        assert await connection.scalar(text("SHOW transaction_isolation")) == "read committed"
        await connection.execute(text("CREATE TABLE rolled_back ()"))
        await connection.rollback()
        # The same connection, taken again.
        assert await connection.scalar(text("SHOW transaction_isolation")) == "read committed"
        assert await connection.scalar(text("SELECT to_regclass('rolled_back')")) is None
    await ours.dispose()


async def test_its_own_connections_stay_as_they_were(migrated_url: str) -> None:
    theirs = create_async_engine(sqlalchemy_url(migrated_url), isolation_level="SERIALIZABLE")
    ours = sibling(theirs, 1, 20)
    async with ours.connect() as first, theirs.connect() as second:
        assert await first.scalar(text("SHOW transaction_isolation")) == "read committed"
        assert await second.scalar(text("SHOW transaction_isolation")) == "serializable"
    await ours.dispose()
    await theirs.dispose()


async def test_jobs_are_kept_recorded_and_enqueued_in_its_transactions(
    theirs: AsyncEngine, redis_url: str, empty_redis: None, only_own_tasks: None, engine: AsyncEngine
) -> None:
    sessions = async_sessionmaker(theirs, expire_on_commit=False)

    async def db_session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session
            await session.commit()

    @task(durable=True, record="all")
    async def answer(ctx: Context, *, db_session: AsyncSession = INJECTED) -> Any:
        return await db_session.scalar(text("SELECT 42"))

    @task
    async def fail(ctx: Context) -> None:
        raise ValueError("always")

    config = SaqueductConfig(
        redis_url=redis_url, engine=theirs, dependencies={"db_session": db_session}, grace_period=5,
        database_connect_timeout=20,
    )  # fmt: skip
    async with Saqueduct(config) as saqueduct, saqueduct.working():
        assert await (await answer.enqueue()).result(timeout=60) == 42
        async with sessions() as session:
            written = await answer.within(session).enqueue()
            failing = await fail.within(session).enqueue()
            await session.commit()
        assert await written.result(timeout=60) == 42

        async def failed() -> bool:
            return await failing.status() is Status.FAILED

        await eventually(failed)
    query = text("SELECT status, count(*) FROM job_records GROUP BY status")
    async with engine.connect() as connection:
        assert dict(list(await connection.execute(query))) == {"complete": 2, "failed": 1}
        assert await connection.scalar(text("SELECT count(*) FROM outbox")) == 0
