"""What a process counts about its jobs, over real workers."""

import asyncio
import itertools
from typing import Any

import pytest
from saq.job import Status

from saqueduct import Context, Saqueduct, get_registry, task
from saqueduct.tasks.job import EngineJob
from saqueduct.telemetry import metrics
from saqueduct.telemetry.counters import JobCounters, waited
from saqueduct.telemetry.histogram import Histogram
from saqueduct.worker.loop_monitor import Pulse
from tests.fixtures.poll import eventually
from tests.queue.kit import RecoveryClock
from tests.telemetry.conftest import Open, counted


async def run(saqueduct: Saqueduct, name: str, **arguments: Any) -> Any:
    """Enqueue a job and wait until it has ended."""
    job = await saqueduct.queues.enqueue(name, arguments)

    async def ended() -> bool:
        found = await saqueduct.queues.find(job.key)
        return found.status in (Status.COMPLETE, Status.FAILED, Status.ABORTED)

    async with saqueduct.working():
        await eventually(ended)


async def test_a_job_that_completes_is_counted_once_in_each_metric(measured: Saqueduct) -> None:
    await run(measured, "add", a=1, b=2)
    assert counted(measured, metrics.JOBS_ENQUEUED)["default", "add"] == 1
    assert counted(measured, metrics.ATTEMPTS)["default", "add", "complete"] == 1
    assert counted(measured, metrics.JOBS_FINISHED)["default", "add", "complete"] == 1
    assert counted(measured, metrics.JOB_RUN)["default", "add"] == 1
    assert counted(measured, metrics.JOB_WAIT)["default", "add"] == 1


async def test_a_retry_is_an_attempt_and_no_finished_job(measured: Saqueduct) -> None:
    await run(measured, "fails")
    attempts = counted(measured, metrics.ATTEMPTS)
    assert attempts["default", "fails", "retried"] == 1
    assert attempts["default", "fails", "failed"] == 1
    assert counted(measured, metrics.JOBS_FINISHED)["default", "fails", "failed"] == 1
    assert counted(measured, metrics.JOB_RUN)["default", "fails"] == 2


async def test_a_blocked_event_loop_that_is_noticed_after_the_begin_of_an_attempt_leaves_it_an_attempt(
    measured: Saqueduct, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(1_000_000, -1)
    monkeypatch.setattr(Pulse, "fair", lambda _: float(next(seconds)))
    await run(measured, "add", a=1, b=2)
    assert counted(measured, metrics.ATTEMPTS) == {("default", "add", "complete"): 1}
    assert counted(measured, metrics.JOB_RUN) == {("default", "add"): 1}


async def test_only_the_first_attempt_counts_as_a_wait(measured: Saqueduct) -> None:
    await run(measured, "asks_again")
    assert counted(measured, metrics.ATTEMPTS)["default", "asks_again", "complete"] == 1
    assert counted(measured, metrics.JOB_WAIT)["default", "asks_again"] == 1


async def test_a_waiting_job_that_is_aborted_has_finished_without_an_attempt(measured: Saqueduct) -> None:
    job = await measured.queues.enqueue("add", {"a": 1, "b": 2})
    await measured.queues.abort(job.key)
    assert counted(measured, metrics.JOBS_FINISHED) == {("default", "add", "aborted"): 1}
    assert counted(measured, metrics.ATTEMPTS) == {}


async def test_a_running_job_that_is_aborted_is_an_aborted_attempt(measured: Saqueduct) -> None:
    started = asyncio.Event()

    @task(timeout=60)
    async def waits(ctx: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    job = await waits.enqueue()
    async with measured.working():
        await asyncio.wait_for(started.wait(), 30)
        await measured.queues.abort(job.key)
        await eventually(lambda: counted(measured, metrics.ATTEMPTS).get(("default", "waits", "aborted")))
    assert counted(measured, metrics.JOBS_FINISHED)["default", "waits", "aborted"] == 1


async def test_a_job_that_a_stopping_worker_puts_back_is_a_released_attempt(open_measured: Open) -> None:
    started = asyncio.Event()

    async with open_measured(grace_period=0.0, cancellation_timeout=5.0) as saqueduct:

        @task(timeout=60)
        async def waits(ctx: Context) -> None:
            started.set()
            await asyncio.Event().wait()

        await waits.enqueue()
        async with saqueduct.working():
            await asyncio.wait_for(started.wait(), 30)
        assert counted(saqueduct, metrics.ATTEMPTS) == {("default", "waits", "released"): 1}
        assert counted(saqueduct, metrics.JOBS_FINISHED) == {}


async def test_an_attempt_whose_lease_was_lost_counts_as_lost(measured: Saqueduct) -> None:
    started, goes_on = asyncio.Event(), asyncio.Event()

    @task(timeout=60)
    async def waits(ctx: Context) -> None:
        started.set()
        await goes_on.wait()

    job = await waits.enqueue()
    queue = measured.queues.get("default")
    async with measured.working():
        await asyncio.wait_for(started.wait(), 30)
        await queue.redis.hset(queue.namespace("owners"), queue.job_id(job.key), "somebody else")
        goes_on.set()
        await eventually(lambda: counted(measured, metrics.ATTEMPTS).get(("default", "waits", "lost")))
    assert counted(measured, metrics.JOBS_FINISHED) == {}


async def test_a_job_of_a_dead_worker_counts_as_recovered(measured: Saqueduct, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = measured.queues.get("default")
    await measured.queues.enqueue("add", {"a": 1, "b": 2})
    await queue.scripts.run("lease", 1, "dead", 0)
    clock = RecoveryClock(monkeypatch)

    async def found() -> bool:
        await queue.recover()
        return bool(queue._recovery._seen)

    await eventually(found)
    clock.advance(60)
    assert len(await queue.recover()) == 1
    assert counted(measured, metrics.RECOVERIES) == {("default", "add"): 1}


@pytest.mark.long
async def test_a_job_of_a_schedule_is_counted_with_its_lag(measured: Saqueduct) -> None:
    queue = measured.queues.get("default")
    async with measured.working():
        await eventually(lambda: queue.redis.zcard(queue.namespace("schedules:ticks")))
        [schedule] = await measured.queues.schedules()
        await queue.redis.zadd(queue.namespace("schedules:ticks"), {schedule.key: await queue.time() - 100})
        await eventually(lambda: counted(measured, metrics.SCHEDULE_LAG))
    assert counted(measured, metrics.SCHEDULE_LAG) == {(schedule.key,): 1}
    assert counted(measured, metrics.JOBS_ENQUEUED)["default", "tidy"] == 1
    assert await last_tick(measured) is not None


async def last_tick(saqueduct: Saqueduct) -> float | None:
    [state] = await saqueduct.queues.schedules()
    return state.last_tick


async def test_a_job_of_a_transaction_is_counted_when_redis_has_it(measured: Saqueduct) -> None:
    assert measured.store is not None
    async with measured.store.sessions() as session:
        await measured.queues.enqueue("add", {"a": 1, "b": 2}, session=session)
        assert counted(measured, metrics.JOBS_ENQUEUED) == {}
        await session.commit()
        await eventually(lambda: counted(measured, metrics.JOBS_ENQUEUED))
    assert counted(measured, metrics.JOBS_ENQUEUED) == {("default", "add"): 1}


async def test_names_of_unknown_tasks_share_one_label(measured: Saqueduct) -> None:
    counters = JobCounters("default", get_registry())
    for number in range(3):
        counters.recovered(EngineJob(function=f"made_up_{number}"))
    assert {name: each.recovered for name, each in counters.tasks.items()} == {"(unknown)": 3}


@pytest.mark.parametrize(
    ("queued", "scheduled", "started", "seconds"),
    [
        (1_000_000, 0, 1_004_000, 4.0),
        (1_000_000, 1060, 1_062_500, 2.5),
        # A clock that is wrong.
        (1_000_000, 0, 990_000, 0.0),
    ],
)
def test_a_wait_is_counted_from_the_time_that_a_job_was_due(
    queued: int, scheduled: int, started: int, seconds: float
) -> None:
    assert waited(EngineJob(function="add", queued=queued, scheduled=scheduled, started=started)) == seconds


def test_a_bucket_includes_its_bound() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.1, 0.5, 1.0, 7.0):
        histogram.observe(value)
    assert histogram.cumulated() == [("0.1", 1), ("1.0", 3), ("+Inf", 4)]
    assert histogram.total == pytest.approx(8.6)


def test_without_metrics_nothing_is_counted(redis_url: str, tasks: None) -> None:
    from saqueduct import SaqueductConfig

    saqueduct = Saqueduct(SaqueductConfig(redis_url=redis_url))
    assert saqueduct.metrics is None
    assert [queue.core.meter for queue in saqueduct.queues] == [None]
