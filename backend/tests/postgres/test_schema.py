"""The tables in a schema of their own: everything that PostgreSQL does for the queues finds them there."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest
from saq.job import Status
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from saqueduct import INJECTED, ConfigurationError, Context, Saqueduct, SaqueductConfig, scheduled_task, task
from saqueduct.common.secret import Secret
from saqueduct.litestar.links import JobLinks
from saqueduct.litestar.services import QueueServices
from saqueduct.postgres import migrate, relay
from saqueduct.postgres.dead_letters import DeadLetters, Resolved
from saqueduct.postgres.history import JobHistory
from saqueduct.postgres.record_filter import DeadLetterFilter, RecordFilter
from saqueduct.postgres.retention import Retention
from saqueduct.timings import PostgresTimings, Timings
from tests.fixtures.poll import eventually

SCHEMA = "My-jobs"
"""A name that has to be quoted."""

Look = Callable[[str], Awaitable[Sequence[Any]]]


@pytest.fixture
def only_these_tasks(only_own_tasks: None) -> None:
    """No tasks but those of a test."""


@pytest.fixture
async def sessions(empty_database: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Sessions of the application, which know nothing of the schema."""
    return async_sessionmaker(empty_database, expire_on_commit=False)


@pytest.fixture
async def config(
    redis_url: str,
    empty_redis: None,
    empty_url: str,
    only_these_tasks: None,
    sessions: async_sessionmaker[AsyncSession],
) -> SaqueductConfig:
    async def db_session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session
            await session.commit()

    await migrate.upgrade(empty_url, SCHEMA)
    return SaqueductConfig(
        redis_url=redis_url,
        database_url=empty_url,
        schema=SCHEMA,
        database_connect_timeout=20,
        grace_period=5,
        dependencies={"db_session": db_session},
    )


@pytest.fixture
def look(empty_database: AsyncEngine) -> Look:
    """Keys of the rows of a table in the schema, oldest first."""

    async def keys(table: str) -> Sequence[Any]:
        order = "created_at" if table == "outbox" else "queued_at"
        async with empty_database.connect() as connection:
            query = text(f'SELECT key FROM "{SCHEMA}".{table} ORDER BY {order}')  # noqa: S608
            return (await connection.execute(query)).scalars().all()

    return keys


async def test_records_are_written_found_replayed_and_pruned_with_sessions_of_the_application(
    config: SaqueductConfig, sessions: async_sessionmaker[AsyncSession], look: Look
) -> None:
    @task(record="all")
    async def divide(ctx: Context, *, by: int) -> float:
        return 1 / by

    async with Saqueduct(config) as saqueduct, saqueduct.working():
        good, bad, worse = [await divide.enqueue(by=by) for by in (1, 0, 0)]
        for job in (good, bad, worse):
            await eventually(partial(_ended, job))
        await eventually(lambda: _has(look, 3))
        async with sessions() as session:
            history = JobHistory(session, SCHEMA)
            found = await history.page(RecordFilter(status="failed"))
            assert {record.key for record in found.records} == {bad.key, worse.key}
            assert (await history.find(good.key))[0].result == 1.0
            letters = DeadLetters(session, saqueduct.queues, saqueduct.registry)
            again = await letters.replay(bad.key, by="ada", arguments={"by": 2})
            await letters.discard(worse.key, by="ada", why="not needed")
            assert await letters.count(RecordFilter()) == 0
            await session.commit()
            assert [record.key for record in await history.replays(bad.key)] in ([], [again])
        await eventually(lambda: _has(look, 4))
    async with sessions() as session:
        old = "queued_at = now() - interval '99 d', ended_at = now() - interval '98 d'"
        await session.execute(text(f'UPDATE "{SCHEMA}".job_records SET {old}'))  # noqa: S608
        deleted = await Retention(schema=SCHEMA).prune(session, session.commit)
    assert deleted == {"complete": 2, "aborted": 0, "failed": 2, "queued": 0}


async def _ended(job: Any) -> bool:
    return await job.status() in (Status.COMPLETE, Status.FAILED)


async def _has(look: Look, records: int) -> bool:
    return len(await look("job_records")) == records


async def test_dead_letters_of_a_filter_are_replayed_in_batches(
    config: SaqueductConfig, sessions: async_sessionmaker[AsyncSession], look: Look
) -> None:
    @task
    async def fail(ctx: Context) -> None:
        raise ValueError("again")

    async with Saqueduct(config) as saqueduct:
        async with saqueduct.working():
            for job in [await fail.enqueue() for _ in range(3)]:
                await eventually(partial(_ended, job))
            await eventually(lambda: _has(look, 3))
        so_far = Resolved()
        async with sessions() as session:
            letters = DeadLetters(session, saqueduct.queues, saqueduct.registry)
            while await letters.replay_some(DeadLetterFilter(task="fail"), so_far, by="ada"):
                await session.commit()
            assert await letters.count(RecordFilter()) == 0
        assert (so_far.done, so_far.refused) == (3, {})


@pytest.mark.parametrize("commits", [True, False])
async def test_a_job_of_a_transaction_runs_if_that_commits(
    config: SaqueductConfig, sessions: async_sessionmaker[AsyncSession], look: Look, commits: bool
) -> None:
    @task
    async def greet(ctx: Context) -> str:
        return "hello"

    async with Saqueduct(config) as saqueduct, saqueduct.working():
        async with sessions() as session:
            job = await greet.within(session).enqueue()
            await (session.commit() if commits else session.rollback())
        if commits:
            assert await job.result(timeout=60) == "hello"

        async def empty() -> bool:
            return await look("outbox") == []

        await eventually(empty)


async def test_a_durable_job_stays_in_the_outbox_until_it_has_ended(config: SaqueductConfig, look: Look) -> None:
    @task(durable=True, record="all")
    async def pay(ctx: Context) -> str:
        return "paid"

    async with Saqueduct(config) as saqueduct:
        job = await pay.enqueue()
        assert await look("outbox") == [job.key]
        async with saqueduct.working():
            assert await job.result(timeout=60) == "paid"
        assert (await look("outbox"), await look("job_records")) == ([], [job.key])


async def test_durable_jobs_of_a_schedule_leave_the_outbox_when_they_have_ended(
    config: SaqueductConfig, empty_database: AsyncEngine
) -> None:
    ran: list[str] = []

    @scheduled_task(cron="* * * * * *", durable=True, record="none")
    async def tick(ctx: Context) -> None:
        ran.append(ctx["job"].key)

    async with Saqueduct(config) as saqueduct:
        async with saqueduct.working():
            await eventually(lambda: len(ran) > 1)
        query = f'SELECT count(*) = 0 FROM "{SCHEMA}".outbox WHERE durable'  # noqa: S608
        await eventually(lambda: _first(empty_database, query))
    assert len(set(ran)) == len(ran)


async def test_the_success_of_a_job_commits_with_its_own_session(config: SaqueductConfig, look: Look) -> None:
    seen: list[Any] = []

    @task(record="all", durable=True)
    async def note(ctx: Context, *, db_session: AsyncSession = INJECTED) -> str:
        await db_session.execute(text("CREATE TABLE noted ()"))
        seen.append(await look("job_records"))
        return "noted"

    async with Saqueduct(config) as saqueduct, saqueduct.working():
        job = await note.enqueue()
        assert await job.result(timeout=60) == "noted"
    assert seen == [[]]
    assert (await look("outbox"), await look("job_records")) == ([], [job.key])


async def test_a_worker_hears_of_a_commit_of_a_process_that_died(
    config: SaqueductConfig, empty_database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.timings = Timings(postgres=PostgresTimings(outbox_check=3600.0))
    config.forgotten_after = 36000.0

    @task
    async def greet(ctx: Context) -> str:
        return "hello"

    async with Saqueduct(config) as saqueduct:
        assert saqueduct.store is not None
        saqueduct.store.committed = lambda pending: pending.published.set_result(True)  # type: ignore[method-assign]
        looks = _counted(monkeypatch, saqueduct.store.relay)
        async with saqueduct.working():
            listener = """
                SELECT state = 'idle' FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()
            """
            await eventually(lambda: _first(empty_database, listener))
            # It checks as it starts, and as it begins to listen. From then on only the commit calls it.
            await eventually(lambda: len(looks) == 2)
            async with AsyncSession(empty_database) as session:
                job = await greet.within(session).enqueue()
                await session.commit()
            await eventually(lambda: saqueduct.queues.get("default").job(job.key))
            assert await job.result(timeout=60) == "hello"


@pytest.mark.parametrize(("message", "heard"), [(SCHEMA, True), ("others", False), ("", True)])
async def test_commits_in_other_schemas_do_not_wake_a_worker(
    config: SaqueductConfig, message: str, heard: bool
) -> None:
    async with Saqueduct(config) as saqueduct:
        assert saqueduct.store is not None
        saqueduct.store.relay._hear(SCHEMA, None, 0, "", message)
        assert saqueduct.store.relay._news.is_set() is heard


def _counted(monkeypatch: pytest.MonkeyPatch, watched: relay.Relay) -> list[int]:
    """How many jobs each check of a relay found, as it checks."""
    found: list[int] = []
    look = watched.look

    async def counting(*arguments: Any) -> int:
        found.append(await look(*arguments))
        return found[-1]

    monkeypatch.setattr(watched, "look", counting)
    return found


async def _first(database: AsyncEngine, query: str) -> Any:
    async with database.connect() as connection:
        return await connection.scalar(text(query))


async def test_a_process_does_not_start_without_tables_in_its_schema(config: SaqueductConfig) -> None:
    config.schema = "elsewhere"
    with pytest.raises(Exception, match=r"schema 'elsewhere' lacks Saqueduct's tables"):
        await Saqueduct(config).connect()


@pytest.mark.parametrize(
    ("schema", "words"),
    [("", "schema: "), ("pg_x", "schema: "), ("a b", "schema: "), (7, "schema takes a text or None, not 7")],
)
def test_a_schema_with_an_impossible_name_is_refused(schema: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        SaqueductConfig(redis_url="redis://unused", schema=schema)


async def test_the_http_api_reads_the_schema_with_sessions_of_the_application(
    config: SaqueductConfig, sessions: async_sessionmaker[AsyncSession]
) -> None:
    async with Saqueduct(config) as saqueduct:
        services = QueueServices(saqueduct.queues, saqueduct.registry, JobLinks(Secret("key")), sessions)
        async with services.history() as history:
            assert (await history.page(RecordFilter())).records == []
