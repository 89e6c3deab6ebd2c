"""Jobs of the outbox are enqueued by the process that has committed them: many at a time, each once."""

import asyncio

import pytest
from dishka import AsyncContainer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.settings import Settings
from saqueduct import Context, EngineQueue, Queues, enqueue_many, get_registry, task
from saqueduct.postgres.publisher import Publisher
from saqueduct.postgres.store import PostgresStore
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, record_of
from tests.queue.kit import working

with get_registry().isolated():

    @task(durable=True, ttl=-1)
    async def bill(ctx: Context, *, number: int) -> None: ...

    @task(ttl=-1)
    async def greet(ctx: Context, *, number: int) -> None: ...


@pytest.fixture(autouse=True)
def tasks(own_tasks: None) -> None:
    get_registry().add(bill)
    get_registry().add(greet)


@pytest.fixture
def default(queues: Queues) -> EngineQueue:
    return queues.get("default")


async def test_hundreds_of_calls_at_once_share_a_few_connections(
    engine: AsyncEngine, store: PostgresStore, jobs: JobKit, outbox: Look
) -> None:
    handles = await asyncio.gather(*(bill.enqueue(number=number) for number in range(300)))
    assert all(handle.created for handle in handles)
    assert {job.key for job in jobs.all_enqueued(bill)} == {handle.key for handle in handles}
    assert {row.key for row in await outbox()} == {handle.key for handle in handles}


async def test_calls_with_chosen_keys_at_once_share_them_too(jobs: JobKit, outbox: Look) -> None:
    handles = await asyncio.gather(
        *(bill.options(key=f"bill-{number % 20}").enqueue(number=number) for number in range(60))
    )
    assert sum(handle.created for handle in handles) == 20
    assert len(jobs.all_enqueued(bill)) == 20
    assert len(await outbox()) == 20


async def test_a_call_that_waits_for_another_transaction_holds_up_no_other(
    engine: AsyncEngine, session: AsyncSession, jobs: JobKit
) -> None:
    await bill.options(key="taken", session=session).enqueue(number=1)
    waiting = [asyncio.create_task(bill.options(key="taken").enqueue(number=2)) for _ in range(4)]

    async def all_wait() -> bool:
        async with engine.connect() as connection:
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            return bool((await connection.execute(text(query))).scalar_one() >= 2)

    await eventually(all_wait)
    assert (await bill.enqueue(number=3)).created
    await session.rollback()
    assert sum(handle.created for handle in await asyncio.gather(*waiting)) == 1


async def test_the_relay_finds_the_mark_of_a_job_that_ran_before_its_row_was_noted(
    session: AsyncSession,
    store: PostgresStore,
    default: EngineQueue,
    jobs: JobKit,
    outbox: Look,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def not_noted(*_: object) -> None: ...

    monkeypatch.setattr(Publisher, "_note", not_noted)
    job = await greet.within(session).enqueue(number=1)
    await session.commit()
    await eventually(lambda: default.fetch(job.key))
    assert (await jobs.drain()).complete == 1
    assert [row.key for row in await outbox()] == [job.key]
    assert await store.relay.look([default], grace=0.0) == 1
    assert await default.count("incomplete") == 0
    assert await outbox() == []


async def test_a_job_that_the_relay_publishes_at_the_same_time_runs_once(
    engine: AsyncEngine, session: AsyncSession, store: PostgresStore, default: EngineQueue, jobs: JobKit, outbox: Look
) -> None:
    handles = await enqueue_many(greet.within(session).bind(number=number) for number in range(200))
    await session.commit()
    await asyncio.gather(*(store.relay.look([default], grace=0.0) for _ in range(3)))

    async def published() -> bool:
        return not await outbox()

    await eventually(published)
    assert len(jobs.all_enqueued(greet)) == len(handles)
    assert (await jobs.drain()).complete == len(handles)


async def test_what_was_published_is_noted_before_the_store_is_closed(
    session: AsyncSession, store: PostgresStore, default: EngineQueue, outbox: Look
) -> None:
    job = await greet.within(session).enqueue(number=1)
    await session.commit()
    await eventually(lambda: default.fetch(job.key))
    await store.close()
    assert await outbox() == []


async def test_durable_jobs_go_on_after_postgresql_has_closed_its_connections(
    settings: Settings, queues: Queues, container: AsyncContainer, engine: AsyncEngine, records: Look
) -> None:
    async with working(settings, queues, container, schedules=False):
        first = await bill.enqueue(number=1)
        await record_of(records, first.key, "complete")
        async with engine.begin() as connection:
            others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'saqueduct'"
            await connection.execute(text(f"{others} AND pid <> pg_backend_pid()"))
        second = await bill.enqueue(number=2)
        await record_of(records, second.key, "complete")
