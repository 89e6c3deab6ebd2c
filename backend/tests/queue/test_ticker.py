"""The ticker: one tick, one job, with any number of workers and any deploy."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
from saq import Job, Queue
from saq.job import CronJob, Status
from saq.queue.redis import RedisQueue
from saq.worker import Worker

from saqueduct import Context, EngineQueue, Queues, Task, Unique, scheduled_task
from saqueduct.common.clock import offset, shifted
from saqueduct.tasks.job_meta import SCHEDULE, TICK
from saqueduct.timings import Timings
from saqueduct.worker.ticker import Ticker
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.clients import patient
from tests.fixtures.poll import eventually

pytestmark = pytest.mark.usefixtures("own_tasks")

PERIOD = 7 * 86400.0
"""Seconds between two ticks: so long that no test runs across one. The first day of the epoch was a Thursday."""


@pytest.fixture
def queue(queues: Queues) -> EngineQueue:
    return queues.get("default")


def ticker_of(queue: EngineQueue, *tasks: Task[..., Any]) -> Ticker:
    return Ticker(queue, tasks, dt.UTC)


async def jobs_of(queue: EngineQueue) -> list[Job]:
    """The jobs that wait."""
    jobs = [job async for job in queue.iter_jobs(statuses=[Status.QUEUED])]
    return sorted(jobs, key=lambda job: str(job.key))


async def names_of(queue: EngineQueue) -> list[str]:
    return [job.function for job in await jobs_of(queue)]


def period(count: int) -> float:
    """Epoch seconds of a tick to come."""
    return (time.time() // PERIOD + count) * PERIOD


async def at(ticker: Ticker, moment: float) -> float:
    """Look at the ticks at a time, until nothing is due; returns the seconds until the next look."""
    with shifted(moment - time.time()):
        while (wait := await ticker.tick()) == 0.0:
            pass
        return wait


async def test_a_tick_makes_one_job_however_many_look(queue: EngineQueue) -> None:
    @scheduled_task(every=PERIOD, kwargs={"days": 7})
    async def sweep(ctx: Context, *, days: int = 1) -> None: ...

    tickers = [ticker_of(queue, sweep) for _ in range(5)]
    await asyncio.gather(*(ticker.declare() for ticker in tickers))
    assert await jobs_of(queue) == []
    tick = period(1)
    with shifted(tick + 1 - time.time()):
        await asyncio.gather(*(ticker.tick() for ticker in tickers))
    [job] = await jobs_of(queue)
    assert (job.key, job.function, job.kwargs) == (f"cron:sweep:{int(tick)}", "sweep", {"days": 7})
    assert job.meta == {SCHEDULE: "sweep", TICK: int(tick)}
    assert await queue.count("queued") == 1


async def test_of_two_workers_that_found_a_tick_due_one_makes_the_job(queue: EngineQueue) -> None:
    @scheduled_task(every=PERIOD, overlap="queue", ttl=-1)
    async def sweep(ctx: Context) -> None: ...

    first, second = ticker_of(queue, sweep), ticker_of(queue, sweep)
    await first.declare()
    with shifted(period(1) + 1 - time.time()):
        looks = [await ticker._look() for ticker in (first, second)]
        await first._fire(looks[0])
        [job] = await jobs_of(queue)
        # However quickly the job ends: nothing is left of it.
        await job.finish(Status.COMPLETE)
        await second._fire(looks[1])
    assert await jobs_of(queue) == []


async def test_it_sleeps_until_the_next_tick(queue: EngineQueue) -> None:
    @scheduled_task(every=2.0)
    async def often(ctx: Context) -> None: ...

    @scheduled_task(every=PERIOD)
    async def seldom(ctx: Context) -> None: ...

    frequent = ticker_of(queue, often)
    await frequent.declare()
    assert 0 < await at(frequent, time.time()) <= 2.0
    rare = ticker_of(queue, seldom)
    await rare.declare()
    assert 0 < await at(rare, time.time()) <= Timings().schedule_check


async def test_an_earlier_job_is_in_the_way_unless_jobs_may_overlap(queue: EngineQueue) -> None:
    @scheduled_task(every=PERIOD)
    async def one(ctx: Context) -> None: ...

    @scheduled_task(every=PERIOD, overlap="queue")
    async def many(ctx: Context) -> None: ...

    ticker = ticker_of(queue, one, many)
    await ticker.declare()
    for count in (1, 2, 3):
        await at(ticker, period(count) + 1)
    assert await names_of(queue) == ["many", "many", "many", "one"]
    [job] = [job for job in await jobs_of(queue) if job.function == "one"]
    await job.finish(Status.COMPLETE)
    await at(ticker, period(4) + 1)
    assert await names_of(queue) == ["many", "many", "many", "many", "one"]


async def test_missed_ticks_are_caught_up_once_or_skipped(queue: EngineQueue) -> None:
    @scheduled_task(cron="0 0 * * thu")
    async def once(ctx: Context) -> None: ...

    @scheduled_task(cron="0 0 * * thu", catch_up="skip")
    async def never(ctx: Context) -> None: ...

    ticker = ticker_of(queue, once, never)
    await ticker.declare()
    # The latest of five ticks was half a period ago.
    await at(ticker, period(5) + PERIOD / 2)
    [job] = await jobs_of(queue)
    assert (job.function, job.meta[TICK]) == ("once", int(period(5)))
    await job.finish(Status.COMPLETE)
    # And the next one comes in time for both.
    await at(ticker, period(6) + 1)
    assert await names_of(queue) == ["never", "once"]


async def test_a_changed_schedule_goes_on_from_now_and_a_removed_one_ends(queue: EngineQueue) -> None:
    @scheduled_task(every=PERIOD, name="kept")
    async def kept(ctx: Context) -> None: ...

    @scheduled_task(every=PERIOD, name="changed")
    async def changed(ctx: Context) -> None: ...

    @scheduled_task(every=PERIOD, name="removed")
    async def removed(ctx: Context) -> None: ...

    old = ticker_of(queue, kept, changed, removed)
    await old.declare()
    changed.schedules = ()
    scheduled_task(every=24 * PERIOD)(changed)
    # Deployed while ticks are due: of the old declaration only what has not changed is still to be run.
    due = period(1) + 1
    with shifted(due - time.time()):
        new = ticker_of(queue, kept, changed)
        await new.declare()
    assert await at(old, due) == Timings().schedule_check
    assert await names_of(queue) == []
    await at(new, due)
    assert await names_of(queue) == ["kept"]
    await at(new, period(25))
    assert await names_of(queue) == ["changed", "kept"]


async def replaced(queue: EngineQueue) -> tuple[Ticker, Ticker]:
    """The tickers of an older and a newer worker, whose schedules `old_one` and `new_one` replace each other."""

    @scheduled_task(every=PERIOD)
    async def old_one(ctx: Context) -> None: ...

    @scheduled_task(every=PERIOD)
    async def new_one(ctx: Context) -> None: ...

    old, new = ticker_of(queue, old_one), ticker_of(queue, new_one)
    await old.declare()
    await new.declare()
    return old, new


async def test_workers_that_are_left_take_the_schedules_over(queue: EngineQueue) -> None:
    old, new = await replaced(queue)
    start = time.time()
    for seconds in range(0, 60, 10):
        assert await at(new, start + seconds) > 0
        assert await at(old, start + seconds) == Timings().schedule_check
    # The new workers are gone, for 30 seconds at last.
    assert await at(old, start + 70) == Timings().schedule_check
    await at(old, start + 90)
    await at(old, period(1) + 1)
    assert await names_of(queue) == ["old_one"]


async def test_an_old_worker_that_starts_again_leaves_the_schedules_to_the_newer_ones(queue: EngineQueue) -> None:
    @scheduled_task(every=PERIOD)
    async def both(ctx: Context) -> None: ...

    @scheduled_task(every=PERIOD)
    async def new_one(ctx: Context) -> None: ...

    old, new = ticker_of(queue, both), ticker_of(queue, both, new_one)
    await old.declare()
    await new.declare()
    with shifted(period(1) - 1 - time.time()):
        await new.tick()
        await ticker_of(queue, both).declare()
    assert await at(old, period(1) + 1) == Timings().schedule_check
    assert await names_of(queue) == []
    await at(new, period(1) + 1)
    assert await names_of(queue) == ["both", "new_one"]


async def test_newer_workers_take_the_schedules_back_that_they_lost(queue: EngineQueue) -> None:
    old, new = await replaced(queue)
    # All of the new ones were cut off for a while.
    start = time.time()
    await at(old, start + 40)
    await at(new, start + 41)
    await at(new, period(1) - 1)
    await at(old, period(1) + 1)
    await at(new, period(1) + 1)
    assert await names_of(queue) == ["new_one"]


async def test_schedules_are_declared_anew_when_redis_has_forgotten_them(queue: EngineQueue) -> None:
    @scheduled_task(every=PERIOD)
    async def sweep(ctx: Context) -> None: ...

    ticker = ticker_of(queue, sweep)
    await ticker.declare()
    await queue.redis.flushdb()
    await at(ticker, time.time())
    await at(ticker, period(1) + 1)
    assert await names_of(queue) == ["sweep"]


async def test_one_schedule_that_fails_keeps_no_other_back(
    queue: EngineQueue, caplog: pytest.LogCaptureFixture
) -> None:
    @scheduled_task(every=PERIOD, kwargs={"text": "x" * 2000})
    async def large(ctx: Context, *, text: str) -> None: ...

    @scheduled_task(every=PERIOD)
    async def small(ctx: Context) -> None: ...

    ticker = ticker_of(EngineQueue(queue.redis, queue.name, tasks=queue.tasks, max_payload_bytes=1000), large, small)
    await ticker.declare()
    assert await at(ticker, period(1) + 1) > 0
    assert await names_of(queue) == ["small"]
    assert "could not create a job for a tick of large" in caplog.text


async def test_a_unique_task_is_made_once_by_schedule_and_hand(queue: EngineQueue) -> None:
    @scheduled_task(every=PERIOD, overlap="queue", unique=Unique())
    async def sweep(ctx: Context) -> None: ...

    by_hand = sweep.job({})
    await queue.enqueue_many([by_hand])
    ticker = ticker_of(queue, sweep)
    await ticker.declare()
    await at(ticker, period(1) + 1)
    assert [job.key for job in await jobs_of(queue)] == [by_hand.key]


@pytest.mark.parametrize("skew", [-30.0, 30.0])
async def test_a_worker_with_a_wrong_clock_makes_each_tick_once(
    queue: EngineQueue, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    ticks = [period(count) for count in range(1, 5)]
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + skew)
    seen: list[float] = []

    @scheduled_task(every=PERIOD, overlap="queue")
    async def often(ctx: Context) -> None:
        seen.append(ctx["job"].meta[TICK])

    async with _workers(queue, [often], 3) as workers:
        for worker in workers:
            await worker.declared.wait()
        with ExitStack() as journey:
            for count, tick in enumerate(ticks, 1):
                # A second after it by the clock of Redis.
                journey.enter_context(shifted(tick + 1 - true_time() - offset()))
                await eventually(lambda count=count: len(seen) == count)  # type: ignore[misc]
    assert seen == ticks


async def test_workers_without_schedules_of_their_own_leave_those_of_others(queue: EngineQueue) -> None:
    @scheduled_task(every=PERIOD)
    async def sweep(ctx: Context) -> None: ...

    ticker = ticker_of(queue, sweep)
    await ticker.declare()
    worker = EngineWorker(queue, [])
    running = asyncio.create_task(worker.start())
    await eventually(queue.live_workers)
    worker.request_stop()
    await running
    await at(ticker, period(1) + 1)
    assert len(await jobs_of(queue)) == 1


async def test_a_tick_whose_job_of_a_stock_worker_has_ended_is_not_made_again(queue: EngineQueue) -> None:
    @scheduled_task(cron="0 0 * * thu", overlap="queue")
    async def sweep(ctx: Context) -> None: ...

    ticker = ticker_of(queue, sweep)
    await ticker.declare()
    # As stock workers have it, which have not enqueued the next one yet.
    standing = await queue.enqueue("sweep", key="cron:sweep", scheduled=int(period(1)))
    assert standing is not None
    await standing.finish(Status.COMPLETE)
    await at(ticker, period(1) + 1)
    assert await jobs_of(queue) == []
    await at(ticker, period(2) + 1)
    assert [job.meta[TICK] for job in await jobs_of(queue)] == [period(2)]


async def test_stock_workers_on_the_same_queue_share_the_ticks(queue: EngineQueue, redis_url: str) -> None:
    seen: list[float] = []

    @scheduled_task(cron="* * * * * *", overlap="queue", ttl=1)
    async def each_second(ctx: Context) -> None:
        job = ctx["job"]
        # A stock worker's ticks are jobs that wait for their time.
        seen.append(job.meta.get(TICK) or job.scheduled)

    stock_queue: Queue = RedisQueue(patient(redis_url), "default")
    await stock_queue.connect()
    stock: Worker[Context] = Worker(
        stock_queue, [each_second.runner], cron_jobs=[CronJob(each_second.runner, cron="* * * * * *")],
        timers={"schedule": 1, "sweep": 60, "worker_info": 10, "abort": 1},
    )  # fmt: skip
    # As it does when it starts: the next tick is set ahead of time.
    await stock.schedule()
    async with _workers(queue, [each_second], 1):
        await eventually(lambda: len(seen) >= 3)
    await stock_queue.disconnect()
    assert len(set(seen)) == len(seen)


@asynccontextmanager
async def _workers(
    queue: EngineQueue, tasks: Sequence[Task[..., Any]], count: int
) -> AsyncIterator[list[EngineWorker]]:
    workers = [EngineWorker(queue, [each.runner for each in tasks], scheduled=tasks) for _ in range(count)]
    running = [asyncio.create_task(worker.start()) for worker in workers]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.request_stop()
        await asyncio.gather(*running)
