"""The test kit: modes, the worker beside a test, and the plugin itself."""

import datetime as dt
import threading
from typing import Any

import httpx
import pytest
from saq.job import Status
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.queue.catalog import TasksRegistry
from app.queue.tasks import enqueue_follow_up, my_task, ping
from saqueduct import INJECTED, Context, JobHandle, Queues, enqueue_many, scheduled_task, task
from saqueduct.common.clock import offset
from saqueduct.tasks.job_meta import TICK
from saqueduct.testing import Drained, JobKit, WorkerFixture
from tests.fixtures.poll import eventually_sync

pytestmark = pytest.mark.usefixtures("own_tasks")


# inline


@pytest.mark.saqueduct(mode="inline")
async def test_inline_runs_a_job_before_enqueue_returns(queues: Queues) -> None:
    assert await (await ping.enqueue()).successful()


@pytest.mark.saqueduct(mode="inline")
async def test_inline_covers_every_way_to_enqueue(queues: Queues, client: httpx.AsyncClient) -> None:
    handles = await enqueue_many([my_task.bind(user_id=1), my_task.bind(user_id=2)])
    by_name = await queues.enqueue("my_task", {"user_id": 3})
    through_queue = await queues.get("default").enqueue("my_task", user_id=4)
    over_http = (await client.post("/tasks/my_task", json={"user_id": 5})).json()["job_id"]
    assert through_queue is not None
    for key in [*(handle.key for handle in handles), by_name.key, through_queue.key, over_http]:
        assert (await queues.find(key)).status is Status.COMPLETE


@pytest.mark.saqueduct(mode="inline")
async def test_inline_runs_what_a_job_enqueues_before_the_job_goes_on(jobs: JobKit) -> None:
    ran: list[str] = []

    @task
    async def inner(ctx: Context) -> None:
        ran.append("inner")

    @task(queue="default")
    async def outer(ctx: Context) -> None:
        await inner.enqueue()
        ran.append("outer")

    await outer.enqueue()
    assert ran == ["inner", "outer"]
    jobs.refute_enqueued()


@pytest.mark.saqueduct(mode="inline")
async def test_inline_retries_validates_and_injects(session: AsyncSession) -> None:
    @task(retries=3, retry_delay=3600)
    async def flaky(ctx: Context, *, day: dt.date, db_session: AsyncSession = INJECTED) -> list[Any]:
        if ctx["job"].attempts < 3:
            raise ValueError("not yet")
        return [ctx["job"].attempts, day.year, await db_session.scalar(text("SELECT 1"))]

    job: JobHandle[list[Any]] = await flaky.options(delay=86400 * 3).enqueue(day=dt.date(2030, 1, 1))
    assert await job.result(timeout=60) == [3, 2030, 1]
    assert offset() == 0


@pytest.mark.saqueduct(mode="inline")
async def test_a_job_that_fails_inline_is_known_by_its_handle(jobs: JobKit) -> None:
    @task
    async def fails(ctx: Context) -> None:
        raise ValueError("no")

    job = await fails.enqueue()
    assert await job.status() is Status.FAILED


@pytest.mark.saqueduct(mode="inline")
async def test_a_job_that_enqueues_its_own_key_inline_does_not_wait_for_itself(jobs: JobKit) -> None:
    @task
    async def again(ctx: Context) -> None:
        await again.options(key="one").enqueue()

    assert await (await again.options(key="one").enqueue()).successful()


@pytest.mark.saqueduct(mode="inline")
def test_inline_works_for_blocking_calls(registry: TasksRegistry) -> None:
    result = registry.enqueue_follow_up.delay(user_id=7)
    assert (result.status, registry.my_task.AsyncResult(f"{result.id}:follow-up").status) == ("SUCCESS", "SUCCESS")


async def test_inline_for_a_block(jobs: JobKit) -> None:
    with jobs.mode("inline"):
        inside = await ping.enqueue()
        with jobs.mode("manual"):
            await my_task.enqueue(user_id=1)
    after = await ping.enqueue()
    assert await inside.successful()
    assert await after.status() is Status.QUEUED
    jobs.assert_enqueued(my_task, user_id=1)


# real


@pytest.mark.saqueduct(mode="real")
async def test_real_runs_jobs_beside_the_test() -> None:
    assert await ping.apply() == {"result": "pong"}
    follow_up = await (await enqueue_follow_up.enqueue(user_id=7)).result(timeout=60)
    assert follow_up["status"] == "enqueued"


@pytest.mark.saqueduct(mode="manual")
async def test_manual_is_what_there_is_without_a_mark(jobs: JobKit) -> None:
    job = await ping.enqueue()
    jobs.assert_enqueued(ping)
    assert await job.status() is Status.QUEUED


# The worker of a test without an event loop


def test_a_worker_beside_a_test_without_event_loop(worker: WorkerFixture, registry: TasksRegistry) -> None:
    with worker():
        assert registry.ping.delay().get(timeout=60) == {"result": "pong"}


def test_its_jobs_enqueue_others(worker: WorkerFixture, registry: TasksRegistry) -> None:
    threads: list[str] = []

    @task
    async def inner(ctx: Context) -> None:
        threads.append(threading.current_thread().name)

    @task
    async def outer(ctx: Context) -> None:
        await (await inner.enqueue()).result(timeout=60)

    with worker():
        registry["outer"].delay().get(timeout=60)
    assert threads == ["worker"]


async def test_beside_a_test_with_an_event_loop_both_enqueue(worker: WorkerFixture, jobs: JobKit) -> None:
    @task
    async def outer(ctx: Context) -> dict[str, str]:
        return await ping.apply()

    with worker():
        first, second = await outer.enqueue(), await ping.enqueue()
        assert [await first.result(timeout=60), await second.result(timeout=60)] == [{"result": "pong"}] * 2
    await ping.enqueue()
    assert await jobs.drain() == Drained(complete=1)


def test_nobody_runs_jobs_after_the_block(worker: WorkerFixture, jobs: JobKit, registry: TasksRegistry) -> None:
    with worker():
        pass
    registry.ping.delay()
    jobs.assert_enqueued(ping)


def test_schedules_fire_on_a_journey_when_asked_for(worker: WorkerFixture, jobs: JobKit) -> None:
    seen: list[int] = []

    @scheduled_task(cron="0 3 1 1 *")
    async def yearly(ctx: Context) -> None:
        seen.append(ctx["job"].meta[TICK])

    new_year = dt.datetime(2040, 1, 1, 3, tzinfo=dt.UTC)
    with worker(), jobs.travel_to(new_year):
        pass
    with worker(schedules=True):
        jobs.travel_to(new_year)
        eventually_sync(lambda: seen)
    assert seen == [int(new_year.timestamp())]


# The plugin


QUIET = (
    "-p", "no:cacheprovider",
    # In a process that has run a test with it, its plugin warns when it is loaded again.
    "-p", "no:hypothesispytest",
    "-o", "asyncio_default_fixture_loop_scope=function",
)  # fmt: skip

CONFTEST = """
import pytest
pytest_plugins = ["saqueduct.testing.plugin"]
"""


def test_a_mark_without_mode_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    marks = ["saqueduct", "saqueduct('inline')", "saqueduct(mode='inline', of='x')"]
    tests = [f"@pytest.mark.{mark}\ndef test_{number}(): ..." for number, mark in enumerate(marks)]
    pytester.makepyfile("\n".join(["import pytest", *tests]))
    result = pytester.runpytest_inprocess("--strict-markers", "--tb=line", *QUIET)
    result.assert_outcomes(errors=len(marks))
    refusals = [line for line in result.outlines if "write @pytest.mark.saqueduct(mode=" in line]
    assert len(refusals) >= len(marks)


async def test_an_unknown_mode_is_refused(jobs: JobKit) -> None:
    eager: Any = "eager"
    with pytest.raises(ValueError, match="there is no mode 'eager'; there are manual, inline, real"), jobs.mode(eager):
        pass
