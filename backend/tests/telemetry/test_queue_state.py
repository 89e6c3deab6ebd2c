"""The state of a queue, which health, metrics, the API and the command line share."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from saqueduct import EngineQueue, Queues, Saqueduct
from tests.fixtures.poll import eventually
from tests.telemetry.conftest import Open


@pytest.fixture
def queue(measured: Saqueduct) -> EngineQueue:
    return measured.queues.get("default")


async def enqueued_ago(queues: Queues, seconds: float, **fields: Any) -> str:
    """A job that has waited for so long."""
    queue = queues.get("default")
    queued = int((await queue.time() - seconds) * 1000)
    return (await queues.enqueue("add", {"a": 1, "b": 2}, queued=queued, **fields)).key


async def test_an_empty_queue_has_no_latency(queue: EngineQueue) -> None:
    state = await queue.state()
    assert (state.queued, state.active, state.scheduled, state.backlog) == (0, 0, 0, 0)
    assert state.latency == 0


@pytest.mark.parametrize("priority", [-1, 0, 1])
async def test_the_latency_is_the_age_of_the_oldest_due_job_of_any_priority(
    measured: Saqueduct, queue: EngineQueue, priority: int
) -> None:
    await enqueued_ago(measured.queues, 30)
    await enqueued_ago(measured.queues, 500, priority=priority)
    assert 500 <= (await queue.state()).latency < 560


async def test_a_job_that_was_put_back_at_the_front_hides_no_older_one(measured: Saqueduct, queue: EngineQueue) -> None:
    first = await enqueued_ago(measured.queues, 900)
    await enqueued_ago(measured.queues, 600)
    await queue.scripts.run("lease", 1, "dead", 60)
    job = await queue.job(first)
    assert job is not None
    job.touched, job.attempts = int(await queue.time() * 1000), 0
    await queue.redis.set(queue.job_id(first), queue.serialize(job))
    await queue.redis.hdel(queue.namespace("owners"), queue.job_id(first))
    await queue.redis.zrem(queue.namespace("leases"), queue.job_id(first))
    await queue.redis.lpush(queue.namespace("queued"), queue.job_id(first))
    assert 600 <= (await queue.state()).latency < 660


async def test_entries_of_aborted_jobs_that_stay_in_a_long_list_do_not_count(
    measured: Saqueduct, queue: EngineQueue
) -> None:
    stayed = [f"{queue.job_id('aborted')}-{number}" for number in range(1500)]
    await queue.redis.rpush(queue.namespace("queued"), *stayed)
    assert (await queue.state()).latency == 0
    await enqueued_ago(measured.queues, 100)
    assert 100 <= (await queue.state()).latency < 160


async def test_a_delayed_job_that_no_worker_has_moved_counts_from_its_time(
    measured: Saqueduct, queue: EngineQueue
) -> None:
    due = await queue.time() - 40
    key = (await measured.queues.enqueue("add", {"a": 1, "b": 2}, scheduled=due + 1000)).key
    await queue.redis.zadd(queue.namespace("incomplete"), {queue.job_id(key): due})
    state = await queue.state()
    assert 40 <= state.latency < 100
    assert (state.queued, state.scheduled, state.backlog) == (0, 1, 1)


async def test_a_delayed_job_that_is_not_due_is_no_backlog(measured: Saqueduct, queue: EngineQueue) -> None:
    await measured.queues.enqueue("add", {"a": 1, "b": 2}, scheduled=await queue.time() + 1000)
    state = await queue.state()
    assert (state.scheduled, state.backlog, state.latency) == (1, 0, 0)


async def test_a_job_that_cannot_be_read_does_not_prevent_the_reading(measured: Saqueduct, queue: EngineQueue) -> None:
    key = await enqueued_ago(measured.queues, 100)
    await queue.redis.set(queue.job_id(key), "no job")
    state = await queue.state()
    assert (state.queued, state.latency) == (1, 0)


async def test_a_paused_queue_has_only_its_running_jobs_as_backlog(measured: Saqueduct, queue: EngineQueue) -> None:
    for _ in range(3):
        await enqueued_ago(measured.queues, 10)
    await queue.scripts.run("lease", 1, "worker", 60)
    await queue.pause("ada", "a deploy")
    state = await queue.state()
    assert (state.queued, state.active, state.backlog) == (2, 1, 1)
    assert state.paused is not None
    assert state.paused.by == "ada"


async def test_a_due_tick_is_backlog_until_its_schedule_is_paused(measured: Saqueduct, queue: EngineQueue) -> None:
    await queue.redis.zadd(queue.namespace("schedules:ticks"), {"tidy": await queue.time() - 5})
    assert (await queue.state()).backlog == 1
    await queue.redis.hset(queue.namespace("schedules:paused"), "tidy", "1.0 {}")
    assert (await queue.state()).backlog == 0


async def calls(queue: EngineQueue) -> Mapping[str, int]:
    """The commands that reading the state runs in Redis, and how often."""
    await queue.redis.config_resetstat()
    await queue.state()
    stats = cast("dict[str, dict[str, Any]]", await queue.redis.info("commandstats"))
    return {name: each["calls"] for name, each in stats.items() if "config" not in name and "info" not in name}


async def test_reading_runs_as_many_commands_with_few_jobs_as_with_very_many(
    measured: Saqueduct, queue: EngineQueue
) -> None:
    await queue.state()
    for _ in range(200):
        await enqueued_ago(measured.queues, 10)
    few = await calls(queue)
    # Only their places in the list and in the set: a reading must not come as far as to need more of them.
    ids = [f"{queue.job_id('further')}-{number}" for number in range(50_000)]
    for first in range(0, len(ids), 5000):
        some = ids[first : first + 5000]
        await queue.redis.rpush(queue.namespace("queued"), *some)
        await queue.redis.zadd(queue.namespace("incomplete"), dict.fromkeys(some, 0))
    state = await queue.state()
    assert (state.queued, state.backlog) == (50_200, 50_200)
    assert await calls(queue) == few


async def test_workers_and_slots_are_those_of_the_reports(open_measured: Open) -> None:
    async with open_measured(concurrency=7) as saqueduct:
        queue = saqueduct.queues.get("default")
        async with saqueduct.working():

            async def reported() -> bool:
                state = await queue.state()
                return state.live_workers == 1 and len(state.reports) == 1

            await eventually(reported)
            state = await queue.state()
            assert state.workers == {"ok": 1, "blocked": 0, "not_consuming": 0, "paused": 0}
            assert state.slots == {"busy": 0, "free": 7}
