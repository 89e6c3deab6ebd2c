"""The inbox: outcomes are sent to those who wait for them, without a subscription or a read a job."""

import asyncio
from typing import Any

import pytest
from saq.job import Status

from saqueduct import Context, JobAborted, JobNotFound, Queues, task
from saqueduct.queue.outcomes import Outcome
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.job import EngineJob
from tests.fixtures.poll import eventually

pytestmark = pytest.mark.usefixtures("own_tasks")


patient = pytest.mark.timings(result_patience=600.0)
"""Who waits for a result gets it from the inbox, or not at all: a message that is late leads to no read."""


@pytest.fixture
def default(queues: Queues) -> EngineQueue:
    return queues.get("default")


def _task() -> Any:
    @task
    async def answer(ctx: Context) -> int:
        return 42

    return answer


async def _finish(queue: EngineQueue, key: str, ttl: int = 60) -> None:
    """End a job as a worker of the engine does."""
    *_, lease, _, (stored,) = await queue.scripts.run("lease", 1, "somebody", 60)
    job = queue.read(key, stored)
    job.lease, job.ttl = lease.decode(), ttl
    job.status, job.result, job.completed = Status.COMPLETE, 42, 1
    assert await queue.settler.settle([Outcome.finish(queue.core, job)]) == [1]


async def _registered(queue: EngineQueue, count: int = 1) -> bool:
    return await queue.redis.hlen(queue.namespace("waiters")) == count


@patient
async def test_a_waiter_gets_the_outcome_and_need_not_read_it(
    default: EngineQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await _task().enqueue()
    waiting = asyncio.create_task(job.result(timeout=60))
    await eventually(lambda: _registered(default))

    async def no_read(key: str) -> EngineJob | None:
        raise AssertionError("read")

    monkeypatch.setattr(default, "fetch", no_read)
    await _finish(default, job.key)
    assert await waiting == 42
    assert await _registered(default, 0)


@patient
@pytest.mark.parametrize("key", ["a\nb", "\n", "5\nsaq:job:default:other", "a b", "ä€"])
async def test_a_key_may_hold_any_character(default: EngineQueue, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    job = await _task().options(key=key).enqueue()
    waiting = asyncio.create_task(job.result(timeout=60))
    await eventually(lambda: _registered(default))

    async def no_read(key: str) -> EngineJob | None:
        raise AssertionError("read")

    monkeypatch.setattr(default, "fetch", no_read)
    await _finish(default, key)
    assert await waiting == 42


async def test_a_message_of_another_version_is_none(default: EngineQueue) -> None:
    job = await _task().enqueue()
    waiting = asyncio.create_task(job.result(timeout=60))
    await eventually(lambda: _registered(default))
    await default.redis.publish(default.result_channel._channel, f"{job.id}\n{{}}")
    await _finish(default, job.key)
    assert await waiting == 42


async def test_all_who_wait_get_the_outcome(default: EngineQueue) -> None:
    job = await _task().enqueue()
    waiting = [asyncio.create_task(job.result(timeout=60)) for _ in range(3)]
    await eventually(lambda: _registered(default))
    await _finish(default, job.key)
    assert await asyncio.gather(*waiting) == [42] * 3


async def test_what_had_ended_before_is_answered_at_once(default: EngineQueue) -> None:
    job = await _task().enqueue()
    await _finish(default, job.key)
    assert await job.result(timeout=60) == 42
    assert await _registered(default, 0)


async def test_an_outcome_that_is_not_kept_is_sent_to_nobody(default: EngineQueue) -> None:
    job = await _task().enqueue()
    waiting = asyncio.create_task(job.result(timeout=60))
    await eventually(lambda: _registered(default))
    await _finish(default, job.key, ttl=-1)
    with pytest.raises(JobNotFound):
        await waiting


async def test_an_abort_is_reported(default: EngineQueue) -> None:
    job = await _task().enqueue()
    waiting = asyncio.create_task(job.result(timeout=60))
    await eventually(lambda: _registered(default))
    await job.abort("not wanted")
    with pytest.raises(JobAborted, match="not wanted"):
        await waiting


async def test_what_a_stock_worker_ended_is_heard_of_on_the_jobs_own_channel(default: EngineQueue) -> None:
    job = await _task().enqueue()
    waiting = asyncio.create_task(job.result(timeout=60))

    async def subscribed() -> bool:
        return bool(dict(await default.redis.pubsub_numsub(job.id))[job.id.encode()])

    await eventually(subscribed)
    taken = await default.dequeue(timeout=1)
    assert taken is not None
    async with default.redis.pipeline() as pipe:
        # As stock SAQ writes an end; it knows no inbox.
        taken.status, taken.result = Status.COMPLETE, 42
        pipe.lrem(default.namespace("active"), 1, job.id)
        pipe.zrem(default.namespace("incomplete"), job.id)
        pipe.set(job.id, default.serialize(taken))
        pipe.publish(job.id, "complete")
        await pipe.execute()
    assert await waiting == 42


async def test_a_lost_connection_loses_no_outcome(default: EngineQueue) -> None:
    answer = _task()
    job = await answer.enqueue()
    waiting = asyncio.create_task(job.result(timeout=60))
    await eventually(lambda: _registered(default))
    await default.redis.client_kill_filter(_type="pubsub")
    await _finish(default, job.key)
    assert await waiting == 42
    again = await answer.enqueue()
    waiting = asyncio.create_task(again.result(timeout=60))
    await eventually(lambda: _registered(default))
    await _finish(default, again.key)
    assert await waiting == 42
