"""Paused and triggered schedules."""

import time

import pytest
from saq.job import Status

from saqueduct import Context, DuplicateJob, EngineQueue, Queues, Unique, UnknownSchedule, get_registry, scheduled_task
from saqueduct.common.clock import shifted
from saqueduct.tasks.job_meta import SCHEDULE, TICK
from tests.queue.test_ticker import PERIOD, at, jobs_of, names_of, period, ticker_of


@pytest.fixture(autouse=True)
def no_tasks() -> object:
    """An empty registry: a test's schedules are all there are."""
    with get_registry().isolated():
        yield


@pytest.fixture
def queue(queues: Queues) -> EngineQueue:
    return queues.get("default")


async def test_ticks_that_come_due_in_a_pause_are_skipped_and_the_next_one_is_not(
    queues: Queues, queue: EngineQueue
) -> None:
    @scheduled_task(every=PERIOD, overlap="queue")
    async def halted(ctx: Context) -> None: ...

    @scheduled_task(every=PERIOD, overlap="queue")
    async def other(ctx: Context) -> None: ...

    ticker = ticker_of(queue, halted, other)
    await ticker.declare()
    await queues.pause_schedule("halted", by="ada", why="a bug")
    await at(ticker, period(1) + 1)
    await at(ticker, period(2) + 1)
    assert await names_of(queue) == ["other", "other"]
    assert await queues.resume_schedule("halted")
    await at(ticker, period(2) + 2)
    assert await names_of(queue) == ["other", "other"]
    await at(ticker, period(3) + 1)
    assert await names_of(queue) == ["halted", "other", "other", "other"]


async def test_a_tick_of_the_pause_that_no_worker_saw_is_not_caught_up_at_resume(
    queues: Queues, queue: EngineQueue
) -> None:
    @scheduled_task(every=PERIOD)
    async def halted(ctx: Context) -> None: ...

    ticker = ticker_of(queue, halted)
    await ticker.declare()
    await queues.pause_schedule("halted")
    with shifted(period(2) + 1 - time.time()):
        assert await queues.resume_schedule("halted")
        assert not await queues.resume_schedule("halted")
        [state] = await queues.schedules()
        assert state.paused is None
    await at(ticker, period(2) + 2)
    assert await jobs_of(queue) == []
    await at(ticker, period(3) + 1)
    assert await names_of(queue) == ["halted"]
    assert await queue.redis.exists(queue.namespace("schedules:paused")) == 0


async def test_a_tick_after_the_pause_is_made_however_late_a_worker_looks(queues: Queues, queue: EngineQueue) -> None:
    @scheduled_task(every=PERIOD)
    async def halted(ctx: Context) -> None: ...

    ticker = ticker_of(queue, halted)
    await ticker.declare()
    await queues.pause_schedule("halted")
    with shifted(period(2) + 1 - time.time()):
        await queues.resume_schedule("halted")
    await at(ticker, period(4) + 1)
    [job] = await jobs_of(queue)
    assert job.meta[TICK] == period(4)


async def test_a_pause_stays_with_a_changed_schedule_and_goes_with_a_removed_one(
    queues: Queues, queue: EngineQueue
) -> None:
    @scheduled_task(every=PERIOD)
    async def changed(ctx: Context) -> None: ...

    @scheduled_task(every=PERIOD)
    async def removed(ctx: Context) -> None: ...

    # Before any worker has declared them in Redis.
    for key in ("changed", "removed"):
        await queues.pause_schedule(key)
    await ticker_of(queue, changed, removed).declare()
    assert all(state.paused for state in await queues.schedules())
    changed.schedules = ()
    scheduled_task(every=2 * PERIOD)(changed)
    await ticker_of(queue, changed).declare()
    await ticker_of(queue, changed, removed).declare()
    assert {state.key: state.paused is not None for state in await queues.schedules()} == {
        "changed": True,
        "removed": False,
    }


async def test_schedules_tell_how_they_stand(queues: Queues, queue: EngineQueue) -> None:
    @scheduled_task(every=PERIOD)
    @scheduled_task(cron="0 3 29 2 *", timezone="Europe/Berlin", key="nightly")
    async def report(ctx: Context) -> None: ...

    assert {state.key: state.next_tick for state in await queues.schedules()} == {"report": None, "nightly": None}
    ticker = ticker_of(queue, report)
    await ticker.declare()
    await at(ticker, period(1) + 1)
    pause = await queues.pause_schedule("nightly", by="ada", why="night off")
    assert (pause.by, pause.why) == ("ada", "night off")
    states = {state.key: state for state in await queues.schedules()}
    weekly, nightly = states["report"], states["nightly"]
    assert (weekly.task, weekly.queue, weekly.timing) == ("report", "default", f"every {PERIOD} s")
    assert (weekly.next_tick, weekly.last_job, weekly.paused) == (period(2), f"cron:report:{int(period(1))}", None)
    assert (nightly.timing, nightly.last_job, nightly.paused) == ("0 3 29 2 * Europe/Berlin", None, pause)


async def test_a_trigger_makes_a_job_beside_the_ticks_also_while_paused(queues: Queues, queue: EngineQueue) -> None:
    @scheduled_task(every=PERIOD, kwargs={"days": 7}, overlap="queue")
    async def sweep(ctx: Context, *, days: int = 1) -> None: ...

    ticker = ticker_of(queue, sweep)
    await ticker.declare()
    [before] = await queues.schedules()
    await queues.pause_schedule("sweep")
    jobs = [await queues.trigger_schedule("sweep") for _ in range(2)]
    assert [(job.created, job.kwargs, job.meta) for job in jobs] == [(True, {"days": 7}, {SCHEDULE: "sweep"})] * 2
    assert {job.key for job in await jobs_of(queue)} == {job.key for job in jobs}
    [state] = await queues.schedules()
    assert (state.next_tick, state.last_job) == (before.next_tick, jobs[1].key)


async def test_a_trigger_is_an_earlier_job_to_ticks_and_triggers_that_may_not_overlap(
    queues: Queues, queue: EngineQueue
) -> None:
    @scheduled_task(every=PERIOD)
    async def sweep(ctx: Context) -> None: ...

    ticker = ticker_of(queue, sweep)
    await ticker.declare()
    first = await queues.trigger_schedule("sweep")
    second = await queues.trigger_schedule("sweep")
    assert (second.key, second.created) == (first.key, False)
    await at(ticker, period(1) + 1)
    [job] = await jobs_of(queue)
    assert job.key == first.key
    await job.finish(Status.COMPLETE)
    assert (await queues.trigger_schedule("sweep")).created


@pytest.mark.parametrize("on_conflict", ["ignore", "replace", "raise"])
async def test_a_trigger_of_a_unique_task_meets_its_rule(queues: Queues, queue: EngineQueue, on_conflict: str) -> None:
    @scheduled_task(every=PERIOD, overlap="queue", unique=Unique(on_conflict=on_conflict))  # type: ignore[arg-type]
    async def sweep(ctx: Context) -> None: ...

    by_hand = await sweep.enqueue()
    if on_conflict == "raise":
        with pytest.raises(DuplicateJob):
            await queues.trigger_schedule("sweep")
    else:
        job = await queues.trigger_schedule("sweep")
        assert job.created is (on_conflict == "replace")
        assert (job.key == by_hand.key) is (on_conflict == "ignore")
    assert len(await jobs_of(queue)) == 1


@pytest.mark.parametrize("steer", ["pause_schedule", "resume_schedule", "trigger_schedule"])
async def test_an_unknown_schedule_is_reported_with_those_there_are(queues: Queues, steer: str) -> None:
    @scheduled_task(every=PERIOD, key="nightly")
    async def report(ctx: Context) -> None: ...

    with pytest.raises(UnknownSchedule, match="there is no schedule 'report'; there are: nightly"):
        await getattr(queues, steer)("report")
