"""The test kit: running jobs, and travelling in time."""

import asyncio
import datetime as dt
import time
from types import SimpleNamespace
from typing import cast

import pytest
from saq.job import Status

from app.queue.tasks import batch_process, enqueue_follow_up, my_task, ping
from app.settings import Settings, load_settings
from saqueduct import ConfigurationError, Context, GiveUp, InvalidArguments, Queues, enqueue_many, scheduled_task, task
from saqueduct.common.clock import offset, time_now
from saqueduct.testing import Drained, JobKit, NotDrained, running
from saqueduct.worker.worker import EngineWorker

pytestmark = pytest.mark.usefixtures("own_tasks")

MINUTE, DAY = 60, 24 * 60 * 60


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """Three queues, one of them without worker."""
    return load_settings(environment | {"QUEUE_NAMES": "default,mail,unserved", "WORKER_QUEUES": "default,mail"})


# Running


async def test_drain_runs_all_and_what_they_enqueue(jobs: JobKit, queues: Queues) -> None:
    job = await enqueue_follow_up.enqueue(user_id=7)
    await ping.enqueue()
    assert await jobs.drain() == Drained(complete=3)
    assert await job.result() == {"status": "enqueued", "job_id": f"{job.key}:follow-up"}
    assert (await queues.find(f"{job.key}:follow-up")).status is Status.COMPLETE


async def test_drain_runs_all_queues(jobs: JobKit) -> None:
    await ping.enqueue()
    await ping.options(queue="mail", delay=60).enqueue()
    assert await jobs.drain() == Drained(complete=2)


async def test_drain_of_an_empty_queue_is_nothing(jobs: JobKit) -> None:
    assert await jobs.drain() == Drained()


async def test_drain_counts_by_outcome(jobs: JobKit) -> None:
    tries: list[int] = []

    @task(retries=3, retry_delay=3600)
    async def flaky(ctx: Context) -> None:
        tries.append(ctx["job"].attempts)
        if len(tries) < 3:
            raise ValueError("not yet")

    @task
    async def hopeless(ctx: Context) -> None:
        raise GiveUp("never")

    await flaky.enqueue()
    await hopeless.enqueue()
    late = await ping.options(expires=0).enqueue()
    await ping.options(keep_result=False).enqueue()
    assert await jobs.drain() == Drained(complete=2, failed=1, aborted=1, retried=2)
    assert tries == [1, 2, 3]
    assert await late.status() is Status.ABORTED


async def test_drain_runs_delayed_jobs_in_the_order_they_are_due(jobs: JobKit) -> None:
    ran: list[tuple[str, float]] = []
    start = time_now()

    @task
    async def note(ctx: Context, *, name: str) -> None:
        ran.append((name, round(time_now() - start, -2)))

    await note.options(delay=9 * DAY).enqueue(name="last")
    await note.options(delay=3600).enqueue(name="second")
    await note.enqueue(name="first")
    assert await jobs.drain() == Drained(complete=3)
    assert ran == [("first", 0), ("second", 3600), ("last", 9 * DAY)]
    assert offset() == 0


async def test_drain_leaves_what_is_not_due_when_asked_to(jobs: JobKit) -> None:
    await ping.enqueue()
    await ping.options(delay=MINUTE).enqueue()
    assert await jobs.drain(scheduled=False) == Drained(complete=1)
    jobs.assert_enqueued(ping.options(delay=MINUTE))


async def test_drain_makes_no_jobs_of_schedules(jobs: JobKit) -> None:
    await ping.options(delay=DAY).enqueue()
    assert await jobs.drain() == Drained(complete=1)
    jobs.refute_enqueued()


async def test_drain_gives_up_on_jobs_that_enqueue_for_ever(jobs: JobKit) -> None:
    @task
    async def endless(ctx: Context) -> None:
        await endless.options(delay=1).enqueue()

    await endless.enqueue()
    with pytest.raises(NotDrained, match="more than 20 attempts"):
        await jobs.drain(limit=20)


async def test_drain_gives_up_on_jobs_that_do_not_end(jobs: JobKit, monkeypatch: pytest.MonkeyPatch) -> None:
    began = False

    @task(timeout=60)
    async def endless(ctx: Context) -> None:
        nonlocal began
        began = True
        # Until drain has given up.
        await cast("EngineWorker", ctx["worker"]).event.wait()

    # An hour passes as soon as the job runs.
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * began)
    monkeypatch.setattr(running, "time", clock)
    await endless.enqueue()
    with pytest.raises(NotDrained, match=r"not ended within 600 s: 1 in the queue default, 1 of them running"):
        await jobs.drain(timeout=600)


async def test_drain_does_not_wait_for_jobs_of_a_paused_queue(jobs: JobKit, queues: Queues) -> None:
    paused = await ping.enqueue()
    other = await ping.options(queue="mail").enqueue()
    await queues.get("default").pause(by="ada", why="deploy")
    with pytest.raises(NotDrained, match=r"left in paused queues: default \(by ada, deploy\); resume them first"):
        await jobs.drain()
    assert [await paused.status(), await other.status()] == [Status.QUEUED, Status.COMPLETE]
    await queues.get("default").resume()
    assert await jobs.drain() == Drained(complete=1)


@pytest.mark.timings(drain_look=0.0)
async def test_drain_leaves_what_is_not_due_in_a_paused_queue(jobs: JobKit, queues: Queues) -> None:
    await queues.get("default").pause()
    await ping.options(delay=DAY).enqueue()
    for _ in range(10):
        await ping.options(queue="mail").enqueue()
        assert await jobs.drain(scheduled=False) == Drained(complete=1)


async def test_run_returns_the_job_as_it_ended(jobs: JobKit) -> None:
    job = await jobs.run(my_task, user_id=7)
    assert (job.status, job.result) == (Status.COMPLETE, {"status": "success", "user_id": 7})
    by_name = await jobs.run("my_task", user_id=8)
    assert by_name.result["user_id"] == 8


async def test_run_does_not_wait_for_a_delay_or_a_retry(jobs: JobKit) -> None:
    @task(retries=2, retry_delay=DAY)
    async def flaky(ctx: Context) -> int:
        if ctx["job"].attempts < 2:
            raise ValueError("not yet")
        return 2

    job = await jobs.run(flaky.options(delay=DAY, keep_result=False))
    assert (job.status, job.result, job.attempts) == (Status.COMPLETE, 2, 2)


async def test_run_runs_no_other_job(jobs: JobKit) -> None:
    before = [await my_task.enqueue(user_id=1), await ping.options(priority="high").enqueue()]
    before.append(await my_task.enqueue(user_id=2))
    delayed = await ping.options(delay=60).enqueue()
    job = await jobs.run(enqueue_follow_up.options(delay=3600), user_id=7)
    waiting = [*(handle.key for handle in before), delayed.key, job.result["job_id"]]
    assert sorted(each.key for each in jobs.all_enqueued()) == sorted(waiting)
    assert await jobs.drain() == Drained(complete=5)


async def test_those_that_waited_stay_in_line_in_their_order(jobs: JobKit) -> None:
    ran: list[int] = []

    @task
    async def note(ctx: Context, *, number: int) -> None:
        ran.append(number)

    await enqueue_many([note.bind(number=number) for number in range(5)])
    await jobs.run(enqueue_follow_up, user_id=7)
    await note.enqueue(number=5)
    await jobs.drain()
    assert ran == [0, 1, 2, 3, 4, 5]


async def test_a_job_that_expires_when_run_lets_no_other_run(jobs: JobKit) -> None:
    await my_task.enqueue(user_id=1)
    job = await jobs.run(ping.options(expires=30, delay=60))
    assert job.status is Status.ABORTED
    jobs.assert_enqueued(my_task)


async def test_jobs_can_be_run_side_by_side(jobs: JobKit) -> None:
    met = asyncio.Barrier(3)

    @task
    async def meets(ctx: Context) -> None:
        await met.wait()

    await enqueue_many([my_task.bind(user_id=number) for number in range(20)])
    ended = await asyncio.gather(*(jobs.run(meets) for _ in range(3)))
    assert {job.status for job in ended} == {Status.COMPLETE}
    assert len(jobs.all_enqueued(my_task)) == 20


async def test_run_answers_with_the_older_job_of_a_key(jobs: JobKit) -> None:
    await my_task.options(key="one").enqueue(user_id=1)
    job = await jobs.run(my_task.options(key="one"), user_id=2)
    assert (job.status, job.result) == (Status.COMPLETE, {"status": "success", "user_id": 1})


async def test_a_job_of_a_queue_without_worker_cannot_be_run(jobs: JobKit) -> None:
    with pytest.raises(ConfigurationError, match="no worker serves the queue 'unserved'"):
        await jobs.run(ping.options(queue="unserved"))


def test_what_is_awaited_runs_in_any_event_loop(jobs: JobKit) -> None:
    async def call() -> Drained:
        await jobs.run(enqueue_follow_up, user_id=7)
        return await jobs.drain()

    assert asyncio.run(call()) == Drained(complete=1)


async def test_run_refuses_wrong_arguments(jobs: JobKit) -> None:
    with pytest.raises(InvalidArguments, match="user_id"):
        await jobs.run("my_task", user_id="seven")
    jobs.refute_enqueued()


async def test_a_worker_in_the_loop_of_the_test(jobs: JobKit) -> None:
    async with jobs.working():
        assert await ping.apply() == {"result": "pong"}


# Schedules


async def test_a_tick_runs_with_the_schedules_arguments_at_its_time(jobs: JobKit) -> None:
    seen: list[float] = []

    @scheduled_task(cron="0 3 * * *", kwargs={"days": 7})
    async def sweep(ctx: Context, *, days: int = 30) -> int:
        seen.append(time_now())
        return days

    at = dt.datetime(2030, 5, 1, 3, tzinfo=dt.UTC)
    job = await jobs.run_tick(sweep, at=at)
    assert (job.status, job.result) == (Status.COMPLETE, 7)
    [moment] = seen
    # A busy machine takes its time to start the job.
    assert 0 <= moment - at.timestamp() < 30
    assert offset() == 0


async def test_a_tick_of_the_past_runs_too(jobs: JobKit) -> None:
    job = await jobs.run_tick("batch_process", at=dt.datetime(2020, 1, 1, 6, tzinfo=dt.UTC))
    assert (job.status, job.kwargs) == (Status.COMPLETE, {"batch_size": 100})


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (dt.datetime(2030, 5, 1, 4, tzinfo=dt.UTC), r"is no tick of batch_process .* next one is 2030-05-01 06:00"),
        (dt.datetime(2030, 5, 1, 6, 0, 1, tzinfo=dt.UTC), "is no tick"),
        (dt.datetime(2030, 5, 1, 6), "give an aware time"),  # noqa: DTZ001
    ],
)
async def test_a_time_without_tick_is_refused(jobs: JobKit, at: dt.datetime, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        await jobs.run_tick(batch_process, at=at)
    jobs.refute_enqueued()


async def test_a_task_without_schedule_has_no_ticks(jobs: JobKit) -> None:
    with pytest.raises(ValueError, match="my_task has no schedule"):
        await jobs.run_tick(my_task, at=dt.datetime(2030, 5, 1, tzinfo=dt.UTC))


# Time


async def test_what_is_due_waits_in_line_at_once(jobs: JobKit, queues: Queues) -> None:
    await ping.options(delay=2 * DAY).enqueue()
    jobs.travel(DAY)
    assert await queues.get("default").count("queued") == 0
    jobs.travel(DAY)
    assert await queues.get("default").count("queued") == 1


async def test_a_journey_lets_delayed_jobs_come_due(jobs: JobKit) -> None:
    job = await ping.options(delay=2 * DAY).enqueue()
    assert await jobs.drain(scheduled=False) == Drained()
    jobs.travel(dt.timedelta(days=2, seconds=1))
    assert await jobs.drain(scheduled=False) == Drained(complete=1)
    assert await job.status() is Status.COMPLETE


async def test_a_running_worker_sees_a_journey(jobs: JobKit) -> None:
    async with jobs.working():
        job = await ping.options(delay=3600).enqueue()
        jobs.travel(3600)
        assert await job.result(timeout=60) == {"result": "pong"}


async def test_a_journey_to_a_time(jobs: JobKit) -> None:
    moment = dt.datetime(2031, 1, 1, tzinfo=dt.UTC)
    began = time.monotonic()
    with jobs.travel_to(moment):
        assert 0 <= time_now() - moment.timestamp() <= time.monotonic() - began + 0.01
    assert offset() == 0
    with pytest.raises(ValueError, match="give an aware time"):
        jobs.travel_to(dt.datetime(2031, 1, 1))  # noqa: DTZ001


async def test_journeys_add_up(jobs: JobKit) -> None:
    jobs.travel(60)
    with jobs.travel(30):
        assert offset() == 90
    assert offset() == 60


@pytest.mark.parametrize("number", [1, 2])
async def test_no_test_begins_on_the_journey_of_another(jobs: JobKit, number: int) -> None:
    assert offset() == 0
    jobs.travel(60)


async def test_a_job_expires_on_a_journey(jobs: JobKit) -> None:
    job = await ping.options(expires=60).enqueue()
    jobs.travel(61)
    assert await jobs.drain() == Drained(aborted=1)
    assert await job.status() is Status.ABORTED
