"""Debounced tasks in a transaction, and durable ones."""

import asyncio

import pytest
from saq.job import Status
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import Context, Debounce, EngineQueue, GiveUp, Queues, enqueue_many, get_registry, task
from saqueduct.common import clock
from saqueduct.postgres.dead_letters import DeadLetters
from saqueduct.postgres.store import PostgresStore
from saqueduct.testing import Drained, JobKit
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, nothing_published, record_of

RUNS: list[str] = []

with get_registry().isolated():

    @task(debounce=Debounce(500, max_wait=6000, by="doc"))
    async def index(ctx: Context, *, doc: int = 0, text: str) -> str:
        RUNS.append(text)
        if text == "wrong":
            raise GiveUp(text)
        return text


kept = index.options(durable=True)


@pytest.fixture(autouse=True)
def indexing(own_tasks: None) -> None:
    get_registry().add(index)
    RUNS.clear()


async def test_calls_of_a_transaction_are_one_job_after_the_commit(
    session: AsyncSession, jobs: JobKit, outbox: Look
) -> None:
    first, second = [await index.within(session).enqueue(text=text) for text in "ab"]
    assert (first.created, second.created) == (True, True)
    await session.commit()
    assert (await first.enqueued(), await second.enqueued()) == (True, False)
    assert second.key == first.key
    third = await index.enqueue(text="c")
    assert (third.key, await outbox()) == (first.key, [])
    await jobs.drain()
    assert (await second.result(timeout=30), RUNS) == ("c", ["c"])


async def test_a_call_that_is_rolled_back_changes_nothing(session: AsyncSession, jobs: JobKit) -> None:
    await index.enqueue(text="a")
    await index.within(session).enqueue(text="b")
    await session.rollback()
    await jobs.drain()
    assert RUNS == ["a"]


async def test_a_call_whose_process_dies_after_its_commit_counts(
    session: AsyncSession, default: EngineQueue, store: PostgresStore, jobs: JobKit, outbox: Look
) -> None:
    await index.enqueue(text="a")
    async with nothing_published():
        await index.within(session).enqueue(text="b")
        await session.commit()
    for _ in range(2):
        await store.relay.look([default], grace=0.0)
    assert await outbox() == []
    await jobs.drain()
    assert RUNS == ["b"]


async def test_a_durable_call_replaces_the_one_that_waits(
    jobs: JobKit, outbox: Look, records: Look, default: EngineQueue
) -> None:
    first = await kept.enqueue(text="a")
    with clock.shifted(5600):
        second = await kept.enqueue(text="b")
        [job] = jobs.all_enqueued(index)
        assert (second.created, job.key) == (True, second.key)
        score = await default.redis.zscore(default.namespace("incomplete"), default.job_id(second.key))
        assert score is not None
        assert score - await default.time() == pytest.approx(400, abs=40)
        await second.refresh()
        assert second.calls == 2
        assert (await record_of(records, first.key, "aborted")).error == f"replaced by {second.key}"
        assert [row.key for row in await outbox()] == [second.key]
    assert await jobs.drain() == Drained(complete=1)
    assert await first.result(timeout=30) == "b"
    assert (first.key, RUNS) == (second.key, ["b"])


async def test_many_durable_calls_at_once_leave_one(jobs: JobKit) -> None:
    handles = list(await asyncio.gather(*(kept.enqueue(text=str(number)) for number in range(12))))
    handles += await enqueue_many(kept.bind(text=str(number)) for number in range(20))
    assert [job.kwargs for job in jobs.all_enqueued(index)] == [{"text": "19"}]
    assert await jobs.drain() == Drained(complete=1)
    assert [await handle.result(timeout=30) for handle in handles] == ["19"] * len(handles)


async def test_a_durable_one_and_others_replace_each_other(jobs: JobKit) -> None:
    first = await index.enqueue(text="a")
    second = await kept.enqueue(text="b")
    third = await index.enqueue(text="c")
    assert len({first.key, second.key, third.key}) == 3
    assert await jobs.drain() == Drained(complete=1)
    assert [await each.result(timeout=30) for each in (first, second, third)] == ["c"] * 3


async def test_a_lost_durable_one_comes_back_with_the_last_arguments(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, outbox: Look, records: Look
) -> None:
    first = await kept.enqueue(text="a")
    second = await kept.enqueue(text="b")
    await record_of(records, first.key, "aborted")
    await store.publisher.flush(30)
    await default.redis.flushall()
    await store.relay.reconcile([default])
    assert [job.key for job in jobs.all_enqueued(index)] == [second.key]
    third = await kept.enqueue(text="c")
    assert await jobs.drain() == Drained(complete=1)
    assert (await second.result(timeout=30), RUNS) == ("c", ["c"])
    await record_of(records, third.key, "complete")
    assert await outbox() == []


async def test_a_lost_call_does_not_take_the_place_of_a_later_one(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, records: Look
) -> None:
    old = await kept.enqueue(text="a")
    await store.publisher.flush(30)
    await default.redis.flushall()
    with clock.shifted(1):
        await kept.enqueue(text="b")
        await store.relay.reconcile([default])
        assert (await record_of(records, old.key, "aborted")).error.startswith("replaced by ")
        await jobs.drain()
    assert RUNS == ["b"]


async def test_a_replay_starts_at_once_and_replaces_no_call(
    session: AsyncSession, queues: Queues, jobs: JobKit, records: Look
) -> None:
    failed = await index.enqueue(text="wrong")
    await jobs.drain()
    await record_of(records, failed.key, "failed")
    await index.enqueue(text="later")
    await DeadLetters(session, queues, get_registry()).replay(failed.key, by="ada", arguments={"text": "right"})
    await session.commit()
    await eventually(lambda: len(jobs.all_enqueued(index)) == 2)
    assert await jobs.drain(scheduled=False) == Drained(complete=1)
    assert await jobs.drain() == Drained(complete=1)
    assert RUNS == ["wrong", "right", "later"]
    assert await failed.status() is Status.FAILED
