"""Clocks of workers decide nothing: that of Redis says what has expired, and what has begun does not expire."""

import asyncio
import time

import pytest
from dishka import AsyncContainer
from saq.job import Status

from app.queue import Context, Queues, enqueue_many, task
from app.queue.engine import recovery
from app.queue.meta import EXPIRES_AT
from app.settings import Settings, load_settings
from tests.fixtures.poll import eventually
from tests.queue.kit import status, working

pytestmark = pytest.mark.usefixtures("only_own_tasks")


@pytest.fixture(params=[20, -20])
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
        assert await handle.result(timeout=10) == "done"


async def test_a_wrong_clock_keeps_no_abort_from_being_noticed(
    settings: Settings, queues: Queues, container: AsyncContainer, wrong: None
) -> None:
    started = asyncio.Event()

    @task(timeout=60)
    async def waits(ctx: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    handle = await waits.enqueue()
    async with working(settings, queues, container):
        await started.wait()
        await handle.abort("not wanted")
        await status(queues, await handle.refresh(), Status.ABORTED)


@pytest.mark.parametrize(("seconds", "became"), [(10, Status.COMPLETE), (-5, Status.ABORTED)])
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
    started = asyncio.Event()

    @task(timeout=60)
    async def waits(ctx: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    handle = await waits.options(expires=60).enqueue()
    async with working(load_settings(environment | {"WORKER_GRACE_PERIOD": "0"}), queues, container):
        await started.wait()
    handed_back = await handle.refresh()
    assert (handed_back.status, handed_back.meta) == (Status.QUEUED, {})


@pytest.mark.parametrize(("mark", "expires"), [("", False), ("|unbegun", True)])
async def test_only_what_has_not_begun_expires_after_a_recovery(
    queues: Queues, monkeypatch: pytest.MonkeyPatch, mark: str, expires: bool
) -> None:
    monkeypatch.setattr(recovery, "RENEWAL", 0.0)

    @task
    async def nothing(ctx: Context) -> None: ...

    handle = await nothing.options(expires=60).enqueue()
    queue = queues.get("default")
    answer = await queue.scripts.run("lease", 1, "killed", -1)
    await queue.redis.hset(queue.namespace("owners"), handle.id, answer[3].decode() + mark)
    assert await queue.recover() == [handle.id]
    assert (EXPIRES_AT in (await handle.refresh()).meta) is expires
