"""Paused queues: nothing is taken, nothing is lost, and all goes on when they are resumed."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from dishka import AsyncContainer
from saq.job import Status
from saq.queue.redis import RedisQueue

from app.settings import Settings
from saqueduct import Context, EngineQueue, JobHandle, Queues, QueueUnavailable, Retry, task
from saqueduct.broker.connections import Connections
from saqueduct.embedded.redis import EmbeddedRedis
from saqueduct.worker import leasing
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.clients import patient
from tests.fixtures.composition import build_queues
from tests.fixtures.directories import scratch_directory
from tests.fixtures.poll import eventually
from tests.queue.kit import working

pytestmark = pytest.mark.usefixtures("own_tasks")


@pytest.fixture
def queue(queues: Queues) -> EngineQueue:
    return queues.get("default")


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When workers asked for jobs and heard that the queue is paused."""
    moments: list[float] = []
    ask = leasing.Leasing.lease

    async def lease(self: leasing.Leasing, count: int, held: int, waits: float = 0.0) -> leasing.Leased:
        answer = await ask(self, count, held, waits)
        if answer.paused:
            moments.append(time.monotonic())
        return answer

    monkeypatch.setattr(leasing.Leasing, "lease", lease)
    return moments


def after(queue: EngineQueue, seconds: float) -> Callable[[], Awaitable[bool]]:
    """Whether so much time has passed on the clock of Redis since the first question."""
    first: list[float] = []

    async def look() -> bool:
        first.append(await queue.time())
        return first[-1] - first[0] > seconds

    return look


only_woken = pytest.mark.timings(pause_check=36_000.0)
"""Workers that are not woken at the end of a pause ask for no job within the time of a test."""


@pytest.fixture
async def release() -> AsyncIterator[asyncio.Event]:
    """Lets the jobs of `waits` end, at the latest with the test."""
    event = asyncio.Event()
    yield event
    event.set()


@only_woken
async def test_a_paused_queue_gives_out_no_job_and_a_resumed_one_at_once(
    settings: Settings, queues: Queues, queue: EngineQueue, container: AsyncContainer, refused: list[float]
) -> None:
    @task
    async def instant(ctx: Context) -> str:
        return "ran"

    async with working(settings, queues, container):
        await eventually(queue.live_workers)
        await queue.pause()
        jobs = [await instant.options(priority=level).enqueue() for level in ("low", "normal", "high")]
        await eventually(lambda: refused)
        assert [await job.status() for job in jobs] == [Status.QUEUED] * 3
        assert await queue.resume()
        assert [await job.result(timeout=60) for job in jobs] == ["ran"] * 3


@only_woken
async def test_all_workers_are_refused_and_all_wake(
    settings: Settings, queues: Queues, queue: EngineQueue, container: AsyncContainer, refused: list[float]
) -> None:
    together = asyncio.Barrier(3)

    @task(timeout=60)
    async def meets(ctx: Context) -> str:
        await together.wait()
        return "met"

    workers = [
        EngineWorker(queue, [meets.runner], concurrency=1, timers={"schedule": 60, "worker_info": 10, "sweep": 60})
        for _ in range(3)
    ]
    await queue.pause()
    running = [asyncio.create_task(worker.start()) for worker in workers]
    try:
        await eventually(lambda: len(refused) >= 3)
        jobs = [await meets.enqueue() for _ in range(3)]
        await queue.resume()
        # They end only if each of the three workers takes one.
        assert [await job.result(timeout=60) for job in jobs] == ["met"] * 3
    finally:
        for worker in workers:
            worker.request_stop()
        await asyncio.gather(*running)


@only_woken
async def test_a_paused_worker_is_at_rest_with_jobs_in_line(
    settings: Settings, queues: Queues, queue: EngineQueue, container: AsyncContainer, refused: list[float]
) -> None:
    await queue.pause()
    for user_id in range(5):
        await queues.enqueue("my_task", {"user_id": user_id})
    async with working(settings, queues, container):
        await eventually(lambda: refused)
        await eventually(after(queue, 3.0))
        assert len(refused) == 1


async def test_who_paused_it_and_why_is_kept_with_the_first_time(settings: Settings, queue: EngineQueue) -> None:
    assert await queue.paused() is None
    began = await queue.time()
    first = await queue.pause(by="ada", why="the mail server is down")
    assert (first.by, first.why) == ("ada", "the mail server is down")
    assert began <= first.since <= await queue.time()
    await eventually(after(queue, 0.01))
    second = await queue.pause(by="bob", why="still: ünwell")
    assert (second.by, second.why, second.since) == ("bob", "still: ünwell", first.since)
    [elsewhere] = build_queues(settings)
    assert await elsewhere.paused() == second
    await elsewhere.disconnect()
    assert await queue.resume()
    assert await queue.paused() is None
    assert not await queue.resume()


async def test_a_pause_survives_a_restart_of_redis() -> None:
    with scratch_directory() as directory:
        server = EmbeddedRedis(directory / "redis")
        try:
            queue = EngineQueue(Connections(server.start()).client("default"), "default")
            paused = await queue.pause(by="ada", why="night")
            server.stop()
            with pytest.raises(QueueUnavailable):
                await queue.paused()
            server.start()
            assert await queue.paused() == paused
            await queue.disconnect()
        finally:
            server.stop()


async def test_delayed_jobs_get_in_line_and_wait_there(
    settings: Settings, queues: Queues, queue: EngineQueue, container: AsyncContainer, refused: list[float]
) -> None:
    @task
    async def later(ctx: Context) -> str:
        return "ran"

    await queue.pause()
    async with working(settings, queues, container):
        await eventually(lambda: refused)
        job = await later.options(delay=0.1).enqueue()
        await eventually(lambda: queue.count("queued"))
        await eventually(after(queue, 0.3))
        assert await job.status() is Status.QUEUED
        await queue.resume()
        assert await job.result(timeout=60) == "ran"


async def test_running_jobs_go_on_and_their_retries_wait(
    settings: Settings, queues: Queues, queue: EngineQueue, container: AsyncContainer, release: asyncio.Event
) -> None:
    @task(timeout=30)
    async def waits(ctx: Context) -> str:
        await release.wait()
        return "done"

    @task(timeout=30, retries=2)
    async def fails_once(ctx: Context) -> str:
        await release.wait()
        if ctx["job"].attempts == 1:
            raise Retry(delay=0)
        return "at last"

    async with working(settings, queues, container):
        done, tried = await waits.enqueue(), await fails_once.enqueue()
        await _until_active(done, tried)
        await queue.pause()
        release.set()
        assert await done.result(timeout=60) == "done"
        await eventually(lambda: queue.count("queued"))
        await eventually(after(queue, 0.5))
        assert await tried.status() is Status.QUEUED
        await queue.resume()
        assert await tried.result(timeout=60) == "at last"


async def test_jobs_of_a_paused_queue_can_be_aborted(
    settings: Settings, queues: Queues, queue: EngineQueue, container: AsyncContainer, release: asyncio.Event
) -> None:
    @task(timeout=30)
    async def waits(ctx: Context) -> None:
        await release.wait()

    async with working(settings, queues, container):
        running = await waits.enqueue()
        await _until_active(running)
        await queue.pause()
        waiting = await waits.enqueue()
        await waiting.abort()
        assert await waiting.status() is Status.ABORTED
        await running.abort()
        await eventually(running.done)
        assert await running.status() is Status.ABORTED


async def test_drain_waits_for_running_jobs_and_tells_those_left(
    settings: Settings, queues: Queues, queue: EngineQueue, container: AsyncContainer, release: asyncio.Event
) -> None:
    @task(timeout=30)
    async def waits(ctx: Context) -> None:
        await release.wait()

    async with working(settings, queues, container):
        jobs = [await waits.enqueue() for _ in range(2)]
        await _until_active(*jobs)
        assert await queue.drain(timeout=0.1, by="ada") == 2
        late = await waits.enqueue()
        draining = asyncio.create_task(queue.drain(timeout=15))
        await eventually(after(queue, 0.3))
        assert not draining.done()
        release.set()
        assert await draining == 0
        assert await late.status() is Status.QUEUED
        pause_now = await queue.paused()
        assert pause_now is not None
        assert pause_now.why == "to drain"


@pytest.mark.timings(renewal=0.1, not_consuming=0.3)
async def test_a_worker_of_a_paused_queue_is_no_problem(
    settings: Settings,
    queues: Queues,
    queue: EngineQueue,
    container: AsyncContainer,
) -> None:
    await queue.pause()
    async with working(settings, queues, container):
        await queues.enqueue("ping")
        await eventually(lambda: queue.redis.hlen(queue.namespace("vitals")))
        enough = after(queue, 2.0)

        async def without_problems() -> bool:
            assert await queue.problems() == []
            return await enough()

        await eventually(without_problems)


async def test_a_burst_worker_ends_when_the_queue_is_paused(queue: EngineQueue, refused: list[float]) -> None:
    await queue.pause()
    await queue.enqueue("ping")
    worker = EngineWorker(queue, [], burst=True, dequeue_timeout=30)
    running = asyncio.create_task(worker.start())
    # SAQ's `start` swallows a cancellation: `wait_for` would not tell.
    ended, _ = await asyncio.wait([running], timeout=60)
    worker.request_stop()
    await running
    assert ended
    # It has not waited: it would have asked again.
    assert len(refused) == 1
    assert await queue.count("queued") == 1


@pytest.mark.timings(peek=0.1, pause_check=0.1)
async def test_a_worker_goes_on_when_redis_has_lost_the_pause(
    settings: Settings,
    queues: Queues,
    queue: EngineQueue,
    container: AsyncContainer,
    refused: list[float],
) -> None:
    await queue.pause()
    async with working(settings, queues, container):
        await eventually(lambda: refused)
        await queue.redis.flushdb()
        job = await queues.enqueue("ping")

        async def complete() -> bool:
            return (await queues.find(job.key)).status is Status.COMPLETE

        await eventually(complete)


async def test_stock_workers_know_no_pause(queue: EngineQueue, redis_url: str) -> None:
    """As the documents say; their way to take a job asks nobody."""
    await queue.pause()
    await queue.enqueue("ping")
    stock = RedisQueue(patient(redis_url), "default")
    assert await stock.dequeue(timeout=2) is not None
    await stock.disconnect()


async def _until_active(*jobs: JobHandle[Any]) -> None:
    async def active() -> bool:
        return {await job.status() for job in jobs} == {Status.ACTIVE}

    await eventually(active)
