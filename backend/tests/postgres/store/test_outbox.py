"""Jobs of a caller's transaction: they exist if and only if it commits."""

import asyncio
import datetime as dt
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import pytest
from saq.job import Status
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.db.session import make_sessionmaker, transaction
from saqueduct import (
    Context,
    DuplicateJob,
    EngineQueue,
    JobNotFound,
    Queues,
    QueueUnavailable,
    Unique,
    enqueue_many,
    get_registry,
    task,
)
from saqueduct.postgres.models import OutboxJob
from saqueduct.postgres.outbox import PUBLISH_WITHIN
from saqueduct.postgres.store import PostgresStore
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, nothing_published

with get_registry().isolated():

    @task
    async def greet(ctx: Context, *, name: str) -> str:
        return f"hello {name}"


@pytest.fixture(autouse=True)
def greeting(own_tasks: None) -> None:
    get_registry().add(greet)


async def test_a_job_of_a_transaction_is_in_the_queue_once_that_has_committed(
    session: AsyncSession, queues: Queues, outbox: Look
) -> None:
    job = await greet.within(session).enqueue(name="ada")
    assert await queues.get("default").count("incomplete") == 0
    assert await job.status() is Status.NEW
    await session.commit()
    assert await eventually(lambda: queues.get("default").fetch(job.key))
    assert (await queues.find(job.key)).kwargs == {"name": "ada"}

    async def empty() -> bool:
        return not await outbox()

    await eventually(empty)


async def test_a_job_of_a_transaction_that_rolls_back_never_was(
    session: AsyncSession, queues: Queues, outbox: Look
) -> None:
    job = await greet.within(session).enqueue(name="ada")
    await session.rollback()
    with pytest.raises(JobNotFound):
        await job.result(timeout=60)
    assert list(await outbox()) == []
    assert await queues.get("default").count("incomplete") == 0


async def test_a_session_that_is_closed_without_a_commit_rolls_back(engine: AsyncEngine) -> None:
    async with make_sessionmaker(engine)() as session:
        job = await greet.within(session).enqueue(name="ada")
    with pytest.raises(JobNotFound):
        await job.result(timeout=60)


async def test_the_handle_that_was_returned_before_the_commit_waits_for_the_result(
    session: AsyncSession, jobs: JobKit
) -> None:
    job = await greet.within(session).enqueue(name="ada")
    waiting = asyncio.create_task(job.result(timeout=60))
    await session.commit()
    await eventually(lambda: jobs.all_enqueued(greet))
    await jobs.drain()
    assert await waiting == "hello ada"


async def test_a_savepoint_that_is_rolled_back_takes_its_jobs_along(session: AsyncSession, jobs: JobKit) -> None:
    await greet.within(session).enqueue(name="before")
    savepoint = await session.begin_nested()
    await greet.within(session).enqueue(name="inside")
    await savepoint.rollback()
    async with session.begin_nested():
        await greet.within(session).enqueue(name="after")
    assert jobs.all_enqueued(greet) == []
    await session.commit()
    await eventually(lambda: len(jobs.all_enqueued(greet)) == 2)
    assert {(job.kwargs or {})["name"] for job in jobs.all_enqueued(greet)} == {"before", "after"}


async def test_one_session_serves_several_transactions(session: AsyncSession, jobs: JobKit) -> None:
    first = await greet.within(session).enqueue(name="first")
    await session.rollback()
    second = await greet.within(session).enqueue(name="second")
    await session.commit()
    await eventually(lambda: jobs.all_enqueued(greet))
    assert [job.key for job in jobs.all_enqueued(greet)] == [second.key]
    assert first.key != second.key


async def test_thousands_go_in_one_transaction(session: AsyncSession, queues: Queues) -> None:
    handles = await enqueue_many(greet.within(session).bind(name=str(number)) for number in range(2000))
    await session.commit()
    assert len({handle.key for handle in handles}) == 2000

    async def arrived() -> bool:
        return await queues.get("default").count("incomplete") == 2000

    await eventually(arrived)


async def test_a_delay_counts_from_the_call(session: AsyncSession, queues: Queues) -> None:
    eta = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    job = await greet.options(session=session, eta=eta).enqueue(name="later")
    await session.commit()
    found = await eventually(lambda: queues.get("default").fetch(job.key))
    assert found.scheduled == eta.timestamp()
    assert await queues.get("default").count("queued") == 0


async def test_a_key_is_in_the_outbox_once(engine: AsyncEngine, jobs: JobKit) -> None:
    maker = make_sessionmaker(engine)
    async with transaction(maker) as session:
        assert (await greet.options(session=session, key="one").enqueue(name="first")).created
        assert not (await greet.options(session=session, key="one").enqueue(name="second")).created
    await eventually(lambda: jobs.all_enqueued(greet))
    jobs.assert_enqueued(greet, name="first")
    jobs.refute_enqueued(greet, name="second")


async def test_a_unique_job_for_which_another_exists_is_dropped_at_the_commit(
    session: AsyncSession, jobs: JobKit, caplog: pytest.LogCaptureFixture, outbox: Look
) -> None:
    once = greet.options(unique=Unique(on_conflict="raise"))
    await once.enqueue(name="ada")
    with pytest.raises(DuplicateJob):
        await once.enqueue(name="ada")
    job = await once.within(session).enqueue(name="ada")
    await session.commit()

    async def empty() -> bool:
        return not await outbox()

    await eventually(empty)
    assert [each.key for each in jobs.all_enqueued(greet)] != [job.key]
    assert len(jobs.all_enqueued(greet)) == 1
    assert job.key in caplog.text


async def test_what_a_dead_process_left_behind_the_relay_enqueues(
    session: AsyncSession, queues: Queues, store: PostgresStore, jobs: JobKit, outbox: Look
) -> None:
    async with nothing_published():
        job = await greet.within(session).enqueue(name="ada")
        await session.commit()
    assert jobs.all_enqueued(greet) == []
    assert await store.relay.look(list(queues), grace=0.0) == 1
    assert [each.key for each in jobs.all_enqueued(greet)] == [job.key]
    assert list(await outbox()) == []
    assert await store.relay.look(list(queues), grace=0.0) == 0


async def test_publishing_twice_runs_once_also_when_the_job_has_ended_and_is_forgotten(
    engine: AsyncEngine, session: AsyncSession, queues: Queues, store: PostgresStore, jobs: JobKit, outbox: Look
) -> None:
    queue = queues.get("default")
    async with nothing_published():
        job = await greet.options(session=session, keep_result=False).enqueue(name="ada")
        await session.commit()
    [row] = await outbox()
    await store.outbox.publish(queue, OutboxJob.key == job.key)
    assert (await jobs.drain()).complete == 1
    assert await queue.fetch(job.key) is None
    # As if the process had died after Redis took the job and before PostgreSQL knew.
    async with engine.begin() as connection:
        await connection.execute(OutboxJob.__table__.insert(), dict(row._mapping))  # type: ignore[attr-defined]
    assert await store.relay.look([queue], grace=0.0) == 1
    assert await queue.count("incomplete") == 0
    assert list(await outbox()) == []


async def test_marks_go_when_their_rows_are_gone_and_no_call_can_need_them(
    session: AsyncSession, queues: Queues, store: PostgresStore
) -> None:
    queue = queues.get("default")
    redis = queue.redis
    job = await greet.within(session).enqueue(name="ada")
    await session.commit()
    await eventually(lambda: queue.fetch(job.key))
    marks = queue.namespace("published")
    assert await store.outbox.forget_marks(queue) == 0
    [mark] = cast("list[bytes]", await redis.zrange(marks, 0, -1))
    await redis.zincrby(marks, -3 * PUBLISH_WITHIN, mark)

    async def forgotten() -> bool:
        return await store.outbox.forget_marks(queue) == 1

    await eventually(forgotten)
    assert await redis.zcard(marks) == 0


async def test_a_call_to_redis_that_comes_too_late_enqueues_nothing(queues: Queues) -> None:
    queue = queues.get("default")
    job = greet.job({"name": "ada"})
    job.queue = queue
    with pytest.raises(QueueUnavailable):
        await queue.publish([job], await queue.time() - 1)
    assert await queue.count("incomplete") == 0


async def test_a_commit_is_heard_of_by_the_relay(
    engine: AsyncEngine, queues: Queues, store: PostgresStore, jobs: JobKit, session: AsyncSession
) -> None:
    watching = asyncio.create_task(store.watch(queues.get("default")))
    async with nothing_published():
        await greet.within(session).enqueue(name="ada")
        await session.commit()
    await eventually(lambda: jobs.all_enqueued(greet))
    watching.cancel()


async def test_the_relay_ends_though_a_call_swallows_its_cancellation(
    queues: Queues, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = asyncio.Event()

    async def swallow(queues: Sequence[EngineQueue]) -> int:
        looking.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(store.relay, "look", swallow)
    relay = asyncio.create_task(store.relay.run(list(queues)))
    await looking.wait()
    relay.cancel()
    await asyncio.wait([relay], timeout=60)
    assert relay.cancelled()


async def test_a_row_that_cannot_be_read_keeps_no_other_from_being_enqueued(
    engine: AsyncEngine, session: AsyncSession, queues: Queues, store: PostgresStore, jobs: JobKit, outbox: Look
) -> None:
    async with nothing_published():
        broken, good = [await greet.within(session).enqueue(name=name) for name in ("ada", "bob")]
        await session.commit()
    async with engine.begin() as connection:
        statement = update(OutboxJob).where(OutboxJob.key == broken.key).values(job="no job")
        await connection.execute(statement)
    for _ in range(2):
        await store.relay.look(list(queues), grace=0.0)
        await store.relay.reconcile(list(queues))
    assert [job.key for job in jobs.all_enqueued(greet)] == [good.key]
    assert [row.key for row in await outbox()] == [broken.key]


@pytest.mark.parametrize("key", ["k" * 513, "a\0b"])
async def test_a_key_that_no_table_can_hold_is_refused(queues: Queues, outbox: Look, key: str) -> None:
    for durable in (False, True):
        with pytest.raises(ValueError, match=r"^key: "):
            await greet.options(key=key, durable=durable).enqueue(name="ada")
    assert await queues.get("default").count("incomplete") == 0
    assert list(await outbox()) == []
    longest = await greet.options(key="\N{GREEK SMALL LETTER OMEGA}" * 512, durable=True).enqueue(name="ada")
    assert [row.key for row in await outbox()] == [longest.key]
