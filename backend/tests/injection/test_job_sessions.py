"""Sessions that are injected by name: they commit and roll back with the job, and its success commits with them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import Scope
from saq.job import Status
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from saqueduct import INJECTED, Context, JobHandle, Saqueduct, SaqueductConfig, get_registry, task
from saqueduct.postgres.engine import sqlalchemy_url
from saqueduct.queue.outcomes import Outcome
from saqueduct.tasks.job_meta import RECOVERIES


@pytest.fixture(autouse=True)
async def notes(engine: AsyncEngine) -> None:
    """A table that the jobs of these tests write to."""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS named_notes (job text UNIQUE DEFERRABLE)"))
        await connection.execute(text("TRUNCATE named_notes"))


@pytest.fixture(autouse=True)
def _only_own_tasks() -> Iterator[None]:
    with get_registry().isolated():
        yield


@pytest.fixture
async def maker(migrated_url: str) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Sessions as an application has them, on SQLAlchemy's own connections."""
    engine = create_async_engine(sqlalchemy_url(migrated_url))
    yield async_sessionmaker(engine)
    await engine.dispose()


@pytest.fixture
def config(redis_url: str, empty_redis: None, migrated_url: str, maker: Any) -> SaqueductConfig:
    async def db_session() -> AsyncIterator[AsyncSession]:
        async with maker() as session:
            yield session
            await session.commit()

    return SaqueductConfig(
        redis_url=redis_url,
        database_url=migrated_url,
        database_connect_timeout=20,
        grace_period=5,
        dependencies={"db_session": Provide(db_session)},
    )


class SQLAlchemyAsyncConfig:
    """What jobs use of advanced-alchemy's config, which is not installed here; tests/package runs the real one."""

    __module__ = "advanced_alchemy.extensions.litestar"

    def __init__(self, url: str, session_dependency_key: str = "db_session") -> None:
        self._url, self.session_dependency_key = url, session_dependency_key
        self.engine_instance: AsyncEngine | None = None

    def get_engine(self) -> AsyncEngine:
        self.engine_instance = self.engine_instance or create_async_engine(self._url)
        return self.engine_instance

    def create_session_maker(self) -> async_sessionmaker[AsyncSession]:
        return async_sessionmaker(self.get_engine())

    def provide_engine(self, state: State) -> AsyncEngine:
        raise AssertionError("it is of a request")

    def provide_session(self, state: State, scope: Scope) -> AsyncSession:
        raise AssertionError("it is of a request")


async def noted(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return list((await connection.execute(text("SELECT job FROM named_notes ORDER BY job"))).scalars())


async def recorded(engine: AsyncEngine, key: str) -> list[str]:
    async with engine.connect() as connection:
        query = text("SELECT status FROM job_records WHERE key = :key")
        return list((await connection.execute(query, {"key": key})).scalars())


async def ended(job: JobHandle[Any]) -> Status:
    try:
        await job.result(timeout=60)
    except Exception:
        return await job.status()
    return await job.status()


async def write(session: AsyncSession, note: str) -> None:
    await session.execute(text("INSERT INTO named_notes VALUES (:note)"), {"note": note})


@pytest.mark.parametrize("fails", [False, True])
async def test_the_session_commits_or_rolls_back_with_the_job(
    config: SaqueductConfig, engine: AsyncEngine, fails: bool
) -> None:
    @task
    async def note(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await write(db_session, "mine")
        if fails:
            raise ValueError("after the note")

    async with Saqueduct(config) as saqueduct, saqueduct.working():
        assert await ended(await note.enqueue()) is (Status.FAILED if fails else Status.COMPLETE)
    assert await noted(engine) == ([] if fails else ["mine"])


async def test_the_success_is_in_the_transaction_of_the_session(
    config: SaqueductConfig, engine: AsyncEngine, maker: async_sessionmaker[AsyncSession]
) -> None:
    seen: list[list[str]] = []

    async def db_session() -> AsyncIterator[AsyncSession]:
        async with maker() as session:
            yield session
            await session.commit()
        seen.append(await recorded(engine, job.key))

    @task(record="all")
    async def note(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await write(db_session, "mine")

    config.dependencies = {"db_session": db_session}
    async with Saqueduct(config) as saqueduct:
        job = await note.enqueue()
        async with saqueduct.working():
            assert await ended(job) is Status.COMPLETE
    assert seen == [["complete"]]


async def test_a_job_whose_worker_died_after_the_commit_is_not_done_twice(
    config: SaqueductConfig, engine: AsyncEngine
) -> None:
    @task(record="all")
    async def note(ctx: Context, *, db_session: AsyncSession = INJECTED) -> str:
        await write(db_session, f"{ctx['job'].attempts}")
        return "noted"

    async with Saqueduct(config) as saqueduct, saqueduct.working():
        job = await note.enqueue()
        assert await job.result(timeout=60) == "noted"
        queue = saqueduct.queues.get("default")
        stored = await queue.job(job.key)
        assert stored is not None
        stored.status, stored.result, stored.completed, stored.attempts = Status.QUEUED, None, 0, 1
        stored.meta[RECOVERIES] = 1
        await queue.settler.settle([Outcome.release(queue.core, stored)])
        assert await job.result(timeout=60) == "noted"
    assert await noted(engine) == ["1"]


async def test_a_commit_that_fails_fails_the_job_and_takes_its_success_back(
    config: SaqueductConfig, engine: AsyncEngine
) -> None:
    @task(record="all")
    async def note(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await db_session.execute(text("SET CONSTRAINTS ALL DEFERRED"))
        await write(db_session, "twice")
        await write(db_session, "twice")

    async with Saqueduct(config) as saqueduct, saqueduct.working():
        job = await note.enqueue()
        assert await ended(job) is Status.FAILED
        assert "named_notes_job_key" in str((await job.refresh()).error)
    assert await noted(engine) == []
    assert await recorded(engine, job.key) == ["failed"]


@pytest.mark.parametrize("records", [False, True])
async def test_a_transaction_that_postgresql_rolled_back_is_no_success(
    config: SaqueductConfig, engine: AsyncEngine, records: bool
) -> None:
    @task
    async def note(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await write(db_session, "lost")
        with suppress(DBAPIError):
            await db_session.execute(text("SELECT 1 / 0"))

    config.records = records
    async with Saqueduct(config) as saqueduct, saqueduct.working():
        job = await note.enqueue()
        assert await ended(job) is Status.FAILED
        assert "nothing was saved" in str((await job.refresh()).error)
    assert await noted(engine) == []


async def test_an_error_in_a_savepoint_leaves_the_transaction_as_it_is(
    config: SaqueductConfig, engine: AsyncEngine
) -> None:
    @task
    async def note(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await write(db_session, "kept")
        with suppress(DBAPIError):
            async with db_session.begin_nested():
                await db_session.execute(text("SELECT 1 / 0"))

    async with Saqueduct(config) as saqueduct, saqueduct.working():
        assert await ended(await note.enqueue()) is Status.COMPLETE
    assert await noted(engine) == ["kept"]


async def test_of_two_sessions_the_one_that_closes_last_takes_the_success(
    config: SaqueductConfig, engine: AsyncEngine, maker: async_sessionmaker[AsyncSession]
) -> None:
    seen: list[list[str]] = []

    async def audit() -> AsyncIterator[AsyncSession]:
        async with maker() as session:
            yield session
            await session.commit()
        seen.append(await recorded(engine, job.key))

    @task(record="all")
    async def note(ctx: Context, *, db_session: AsyncSession = INJECTED, audit: AsyncSession = INJECTED) -> None:
        await write(db_session, "mine")
        await write(audit, "audit")

    config.dependencies = {**config.dependencies, "audit": audit}
    async with Saqueduct(config) as saqueduct:
        job = await note.enqueue()
        async with saqueduct.working():
            assert await ended(job) is Status.COMPLETE
    assert seen == [[]]
    assert await recorded(engine, job.key) == ["complete"]


@pytest.mark.parametrize("fails", [False, True])
async def test_the_session_of_advanced_alchemys_plugin_comes_by_itself(
    config: SaqueductConfig, engine: AsyncEngine, migrated_url: str, fails: bool
) -> None:
    alchemy = SQLAlchemyAsyncConfig(sqlalchemy_url(migrated_url), "orm")
    app = Litestar(
        dependencies={
            "db_engine": Provide(alchemy.provide_engine, sync_to_thread=False),
            "orm": Provide(alchemy.provide_session, sync_to_thread=False),
        }
    )

    @task(record="all")
    async def note(ctx: Context, *, orm: AsyncSession = INJECTED, db_engine: AsyncEngine = INJECTED) -> None:
        assert db_engine is alchemy.get_engine()
        await write(orm, "mine")
        if fails:
            raise ValueError

    saqueduct = Saqueduct(config)
    saqueduct.injectors.named.serve(app)
    async with saqueduct, saqueduct.working():
        job = await note.enqueue()
        assert await ended(job) is (Status.FAILED if fails else Status.COMPLETE)
    assert await noted(engine) == ([] if fails else ["mine"])
    assert await recorded(engine, job.key) == (["failed"] if fails else ["complete"])


async def test_the_session_of_a_config_of_advanced_alchemy_needs_no_application(
    config: SaqueductConfig, engine: AsyncEngine, migrated_url: str
) -> None:
    @task
    async def note(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await write(db_session, "mine")

    config.database_url, config.dependencies = "", {}
    config.sqlalchemy_config = SQLAlchemyAsyncConfig(sqlalchemy_url(migrated_url))
    async with Saqueduct(config) as saqueduct, saqueduct.working():
        assert await ended(await note.enqueue()) is Status.COMPLETE
    assert await noted(engine) == ["mine"]
