"""Clocks of workers decide nothing: that of Redis says what has expired, and what has begun does not expire."""

import datetime as dt
import time

import pytest
from dishka import AsyncContainer
from saq.job import Status
from sqlalchemy.ext.asyncio import AsyncSession

from app.settings import Settings, load_settings
from saqueduct import Context, Queues, enqueue_many, scheduled_task, task
from saqueduct.tasks.job_meta import EXPIRES_AT
from saqueduct.worker.ticker import Ticker
from tests.fixtures.poll import eventually
from tests.queue.kit import status, waiting_task, working

pytestmark = pytest.mark.usefixtures("only_own_tasks")


@pytest.fixture(params=[3600, -3600])
def wrong(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the worker is so many seconds ahead of that of Redis."""
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + request.param)


async def test_a_wrong_clock_ends_no_job_for_its_heartbeat(
    settings: Settings, queues: Queues, container: AsyncContainer, wrong: None
) -> None:
    looks: list[int] = []

    @task(timeout=60, heartbeat=10)
    async def waits(ctx: Context) -> str:
        await eventually(lambda: len(looks) > 1)
        return "done"

    handle = await waits.enqueue()
    async with working(settings, queues, container) as worker:
        await status(queues, await handle.refresh(), Status.ACTIVE)
        for _ in range(2):
            await worker.abort(0)
            looks.append(1)
        assert await handle.result(timeout=60) == "done"


async def test_a_wrong_clock_keeps_no_abort_from_being_noticed(
    settings: Settings, queues: Queues, container: AsyncContainer, wrong: None
) -> None:
    waits, started = waiting_task()
    handle = await waits.enqueue()
    async with working(settings, queues, container):
        await started.wait()
        await handle.abort("not wanted")
        await status(queues, await handle.refresh(), Status.ABORTED)


@pytest.mark.parametrize(("seconds", "became"), [(1800, Status.COMPLETE), (-1800, Status.ABORTED)])
async def test_the_clock_of_redis_says_what_has_expired(
    settings: Settings, queues: Queues, container: AsyncContainer, wrong: None, seconds: int, became: Status
) -> None:
    @task
    async def nothing(ctx: Context) -> None: ...

    seconds_of_redis, _ = await queues.get("default").redis.time()
    call = nothing.bind()
    call.job.meta[EXPIRES_AT] = seconds_of_redis + seconds
    [handle] = await enqueue_many([call])
    async with working(settings, queues, container):
        await eventually(handle.done)
    assert await handle.status() is became


async def test_a_job_that_began_in_time_does_not_expire_when_it_is_handed_back(
    environment: dict[str, str], queues: Queues, container: AsyncContainer
) -> None:
    waits, started = waiting_task()
    handle = await waits.options(expires=60).enqueue()
    async with working(load_settings(environment | {"WORKER_GRACE_PERIOD": "0"}), queues, container):
        await started.wait()
    handed_back = await handle.refresh()
    assert (handed_back.status, handed_back.meta) == (Status.QUEUED, {})


@pytest.mark.parametrize(("mark", "expires"), [("", False), ("|unbegun", True)])
@pytest.mark.timings(recovery_wait=0.0)
async def test_only_what_has_not_begun_expires_after_a_recovery(queues: Queues, mark: str, expires: bool) -> None:

    @task
    async def nothing(ctx: Context) -> None: ...

    handle = await nothing.options(expires=60).enqueue()
    queue = queues.get("default")
    answer = await queue.scripts.run("lease", 1, "killed", -1)
    await queue.redis.hset(queue.namespace("owners"), handle.id, answer[3].decode() + mark)
    assert await queue.recover() == [handle.id]
    assert (EXPIRES_AT in (await handle.refresh()).meta) is expires


@pytest.fixture(params=[2 * 86400, -2 * 86400])
def days_off(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of this process, producer and worker, is two days ahead of that of Redis, or behind."""
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + request.param)


@pytest.mark.usefixtures("days_off")
async def test_a_delay_counts_by_the_clock_of_redis(queues: Queues) -> None:
    @task
    async def later(ctx: Context) -> None: ...

    queue = queues.get("default")
    before, _ = await queue.redis.time()
    handle = await later.options(delay=300).enqueue()
    after, _ = await queue.redis.time()
    due = await queue.redis.zscore(queue.namespace("incomplete"), handle.id)
    assert due is not None
    assert before + 300 <= due <= after + 301
    assert await queue.schedule() == []


@pytest.mark.usefixtures("days_off")
@pytest.mark.parametrize("way", ["alone", "in a transaction", "durable"])
async def test_expires_counts_by_the_clock_of_redis(
    settings: Settings, queues: Queues, container: AsyncContainer, session: AsyncSession, way: str
) -> None:
    @task
    async def soon(ctx: Context) -> str:
        return "in time"

    queue = queues.get("default")
    call = soon.options(expires=300, durable=way == "durable")
    before, _ = await queue.redis.time()
    handle = await (call.within(session) if way == "in a transaction" else call).enqueue()
    await session.commit()
    async with working(settings, queues, container, schedules=False):
        assert await handle.result(timeout=60) == "in time"
    after, _ = await queue.redis.time()
    job = await handle.refresh()
    assert before + 300 <= job.meta[EXPIRES_AT] <= after + 301


@pytest.mark.usefixtures("days_off")
async def test_a_schedule_is_not_due_because_a_clock_is_wrong(queues: Queues) -> None:
    @scheduled_task(every=3600)
    async def hourly(ctx: Context) -> None: ...

    queue = queues.get("default")
    ticks = queue.namespace("schedules:ticks")
    ticker = Ticker(queue, [hourly], dt.UTC)
    before = await queue.time()
    await ticker.declare()
    declared = await queue.redis.zscore(ticks, "hourly")
    assert declared is not None
    assert before < declared <= await queue.time() + 3600
    # It may be due by now, at the full hour.
    await queue.redis.zadd(ticks, {"hourly": await queue.time() + 1800})
    await ticker.tick()
    assert await queue.count("incomplete") == 0


async def test_live_workers_are_counted_by_the_clock_of_redis(
    settings: Settings, queues: Queues, container: AsyncContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queues.get("default")
    right = time.time
    for skew in (-3600, 3600):
        monkeypatch.setattr(time, "time", lambda skew=skew: right() + skew)
        async with working(settings, queues, container) as worker:
            await eventually(queue.live_workers)
            monkeypatch.setattr(time, "time", right)
            assert await queue.live_workers() == 1
            assert list((await queue.info())["workers"]) == [worker.id]
            seconds, _ = await queue.redis.time()
            until = await queue.redis.zscore(queue.namespace("stats"), queue.namespace(f"worker_info:{worker.id}"))
            assert until is not None
            assert 0 < until / 1000 - seconds <= 31
