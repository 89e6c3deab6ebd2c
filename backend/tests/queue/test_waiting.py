"""What wakes workers that have found no job: each job one of them, however many wait."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
from dishka import AsyncContainer
from msgspec import structs

from app.settings import Settings
from saqueduct import Context, EngineQueue, Queues, enqueue_many, task
from saqueduct.tasks.job_meta import RECOVERIES
from saqueduct.worker.waiting import Waiting
from tests.fixtures.composition import build_workers
from tests.fixtures.poll import eventually

WORKERS = 6


@pytest.fixture
def queue(own_tasks: None, queues: Queues) -> EngineQueue:
    return queues.get("default")


@pytest.fixture
def waiting(queue: EngineQueue) -> Waiting:
    return Waiting(queue.core, queue.schedule, asyncio.Event())


async def blocked(queue: EngineQueue) -> int:
    """Clients of the server that wait at a list."""
    return int((await queue.redis.info("clients"))["blocked_clients"])


async def peeks(queue: EngineQueue) -> int:
    """How often workers began to wait since the server began to count."""
    statistics: Any = await queue.redis.info("commandstats")
    return int(statistics["cmdstat_blmove"]["calls"])


async def line(queue: EngineQueue) -> list[bytes]:
    entries: Any = await queue.redis.lrange(queue.namespace("queued"), 0, -1)
    return list(entries)


async def awaited(queue: EngineQueue) -> int:
    return int(await queue.redis.llen(queue.namespace("awaited")))


@asynccontextmanager
async def idle(settings: Settings, queues: Queues, container: AsyncContainer) -> AsyncIterator[None]:
    """Workers of one slot each, all of which wait; stopped at the end of the block."""
    narrow = structs.replace(settings, worker=structs.replace(settings.worker, concurrency=1))
    async with AsyncExitStack() as stack:
        for _ in range(WORKERS):
            [worker] = build_workers(narrow, queues, container)
            running = asyncio.create_task(worker.start())
            stack.push_async_callback(asyncio.wait, [running])
            stack.callback(worker.request_stop)
        await all_wait(queues)
        yield


async def all_wait(queues: Queues) -> None:
    async def waits() -> bool:
        return await blocked(queues.get("default")) == WORKERS

    await eventually(waits)


async def test_a_job_wakes_one_of_many_workers(
    settings: Settings, queue: EngineQueue, queues: Queues, container: AsyncContainer
) -> None:
    @task
    async def brief(ctx: Context) -> None: ...

    async with idle(settings, queues, container):
        began, before = time.monotonic(), await peeks(queue)
        for _ in range(10):
            await (await brief.enqueue()).result(timeout=60)
            await all_wait(queues)
        counted = await peeks(queue) - before
        # Each worker looks again by itself after so many seconds.
        turns = 1 + (time.monotonic() - began) // queue.core.timings.peek
    # One for each job, and those turns; were all woken, there would be 60, and the turns.
    assert counted < 12 + turns * WORKERS


@pytest.mark.parametrize("level", ["high", "normal", "low"])
async def test_many_jobs_wake_as_many_workers(
    settings: Settings, queue: EngineQueue, queues: Queues, container: AsyncContainer, level: Any
) -> None:
    together = asyncio.Barrier(WORKERS)

    @task
    async def meet(ctx: Context) -> None:
        await together.wait()

    async with idle(settings, queues, container):
        jobs = await enqueue_many(meet.options(priority=level).bind() for _ in range(WORKERS))
        await asyncio.gather(*(job.result(timeout=60) for job in jobs))


async def woken(queue: EngineQueue) -> None:
    """What Redis does for a worker that waits, whose connection is lost before it leases."""
    assert await queue.redis.blmove(queue.namespace("queued"), queue.namespace("awaited"), 1, "LEFT", "RIGHT")


async def test_a_worker_that_dies_before_it_leases_keeps_nothing(queue: EngineQueue) -> None:
    job = await queue.enqueue("ping")
    assert job is not None
    await woken(queue)
    assert (await line(queue), await awaited(queue)) == ([], 1)
    assert (await queue.count("queued"), await queue.count("active")) == (1, 0)
    await queue.sweep()
    assert (await line(queue), await awaited(queue)) == ([job.id.encode()], 0)


async def test_whoever_leases_first_gets_it_and_in_the_order_of_the_line(queue: EngineQueue) -> None:
    jobs = [job.id.encode() for job in [await queue.enqueue("ping") for _ in range(4)] if job is not None]
    await woken(queue)
    await woken(queue)
    answer = await queue.scripts.run("lease", 3, "somebody", 60)
    assert list(answer[4]) == jobs[:3]
    assert (await line(queue), await awaited(queue)) == (jobs[3:], 0)


async def test_a_job_comes_with_the_answer_for_which_a_worker_waits(queue: EngineQueue, waiting: Waiting) -> None:
    waits = asyncio.create_task(waiting.lease(("1", "somebody", "60", "0", "1"), 4.0))
    await eventually(partial(reached, queue, 1))
    job = await queue.enqueue("ping")
    assert job is not None
    assert (await waits)[4] == [job.id.encode()]
    assert (await queue.count("queued"), await queue.count("active")) == (0, 1)


async def reached(queue: EngineQueue, number: int) -> bool:
    return await blocked(queue) == number


async def test_a_script_that_redis_has_forgotten_is_sent_again(queue: EngineQueue, waiting: Waiting) -> None:
    await queue.redis.script_flush()
    job = await queue.enqueue("ping")
    assert job is not None
    await queue.redis.script_flush()
    assert (await waiting.lease(("1", "somebody", "60", "0", "1"), 4.0))[4] == [job.id.encode()]


# Long, or it gives up to say so on a busy machine.
@pytest.mark.timings(leave=60.0)
async def test_a_worker_that_stops_leases_nothing_more(queue: EngineQueue) -> None:
    stopping = asyncio.Event()
    waiting = Waiting(queue.core, queue.schedule, stopping)
    # Without the stop it would wait for longer than this test does.
    waits = asyncio.create_task(waiting.lease(("1", "somebody", "60", "0", "1"), 600.0))
    await eventually(partial(reached, queue, 1))
    stopping.set()
    waiting.stop()
    assert await asyncio.wait_for(waits, 60) is None
    await waiting.close()
    await eventually(partial(reached, queue, 0))
    # As if its connection had lived on: the entry stays in line, for others.
    job = await queue.enqueue("ping")
    assert job is not None
    await woken(queue)
    answer = await queue.scripts.run("lease", 1, "somebody", 60, 0, 1, waiting._token)
    assert (answer[4:], await line(queue), await queue.count("active")) == ([], [job.id.encode()], 0)


async def test_what_was_leased_in_the_moment_of_the_stop_is_given_back(
    settings: Settings, queue: EngineQueue, queues: Queues, container: AsyncContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = Waiting._leave

    async def late(self: Waiting) -> None:
        await queue.enqueue("ping", key="late")
        await leave(self)

    monkeypatch.setattr(Waiting, "_leave", late)
    [worker] = build_workers(settings, queues, container)
    running = asyncio.create_task(worker.start())
    await eventually(partial(reached, queue, 1))
    worker.request_stop()
    await running
    job = await queue.job("late")
    assert job is not None
    assert (job.status, job.attempts, job.meta.get(RECOVERIES)) == ("queued", 0, None)
    assert (await line(queue), await queue.count("active")) == ([job.id.encode()], 0)


async def test_a_pause_leaves_the_jobs_in_line(
    settings: Settings, queue: EngineQueue, queues: Queues, container: AsyncContainer
) -> None:
    async with idle(settings, queues, container):
        await queue.pause(by="a test")
        jobs = [await queue.enqueue("ping") for _ in range(3)]
        assert all(jobs)

        async def wait_in_line() -> bool:
            return await awaited(queue) == 0 and len(await line(queue)) == 3

        await eventually(wait_in_line)
        assert await queue.count("active") == 0
        await queue.resume()
        for job in jobs:
            assert job is not None
            await job.refresh(until_complete=60)
            assert job.status == "complete"
