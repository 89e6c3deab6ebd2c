"""Running one job alone: a real worker that takes this job and no other waiting job."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, cast

from saqueduct.broker.keys import LANES
from saqueduct.common import clock
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.job_meta import EXPIRES_AT
from saqueduct.testing.running import PAUSE, NotDrained, due_times, promote
from saqueduct.worker.worker import EngineWorker

PLACES = "flow:places"
"""The hash of the lanes that have jobs, see `lua/limits.lua`."""

LINES = ("queued", "queued:high", "queued:low")
"""The lists in which the due jobs of a queue wait, as `broker/keys.py` names them."""

GIVES_UP = 0.05
"""Seconds after which a worker ends that should take a job and found none."""


async def run_to_the_end(
    make_worker: Callable[[], EngineWorker], queue: EngineQueue, key: str, lock: asyncio.Lock, timeout: float
) -> None:
    """Run a job until it has ended, retries included; the queue's clock is advanced to the time that it waits for.

    Args:
        make_worker: makes a worker of the queue, for one attempt.
        queue: connected to the running event loop.
        key: the job's key.
        lock: ensures that one job is taken at a time; others may run meanwhile.
        timeout: seconds of real time.

    Raises:
        NotDrained: it took longer.
    """
    deadline = time.monotonic() + timeout
    with ExitStack() as journey:
        journey.enter_context(_passing_limits(queue))
        while due := await due_times(queue, [key]):
            if (ahead := due[0] - clock.time_now()) > 0:
                journey.enter_context(clock.shifted(ahead))
            await _attempt(make_worker(), queue, key, lock, deadline)
            if time.monotonic() > deadline:
                raise NotDrained(f"the job {key!r} has not ended within {timeout:g} s")


async def _attempt(worker: EngineWorker, queue: EngineQueue, key: str, lock: asyncio.Lock, deadline: float) -> None:
    worker.burst, worker.max_burst_jobs, worker.dequeue_timeout = True, 1, GIVES_UP
    running: asyncio.Task[None] | None = None
    try:
        async with lock:
            await promote([queue])
            starts = await _starts(queue, key)
            async with _alone_in_line(queue, key):
                running = asyncio.create_task(worker.start())
                await _until(running, deadline, lambda: _taken(queue, key) if starts else _ended(queue, key))
                if not starts:
                    # This job did not count as the one job that the worker may take.
                    worker.request_stop()
                    await running
        await _until(running, deadline)
    finally:
        if running is not None:
            worker.request_stop()
            await running


async def _until(
    running: asyncio.Task[None], deadline: float, done: Callable[[], Awaitable[bool]] | None = None
) -> None:
    """Wait until the worker has ended, the awaited job is done, or the deadline is over."""
    while not running.done() and time.monotonic() < deadline:
        if done is None:
            await asyncio.wait([running], timeout=deadline - time.monotonic())
        elif await done():
            return
        else:
            await asyncio.sleep(PAUSE)


async def _taken(queue: EngineQueue, key: str) -> bool:
    return await queue.redis.lpos(queue.namespace(LINES[0]), queue.job_id(key)) is None


async def _ended(queue: EngineQueue, key: str) -> bool:
    return not await due_times(queue, [key])


async def _starts(queue: EngineQueue, key: str) -> bool:
    """False for a job that has expired: a worker takes it only to end it."""
    job = await queue.job(key)
    return job is not None and clock.time_now() <= job.meta.get(EXPIRES_AT, math.inf)


@contextmanager
def _passing_limits(queue: EngineQueue) -> Iterator[None]:
    queue.core.alone += 1
    try:
        yield
    finally:
        queue.core.alone -= 1


@asynccontextmanager
async def _alone_in_line(queue: EngineQueue, key: str) -> AsyncIterator[None]:
    """Make the job the only waiting one during a block, and one without limits; afterwards the others are in front of
    those that arrived meanwhile."""
    redis, job_id = cast("Any", queue.redis), queue.job_id(key)
    lines = {queue.namespace(name): queue.namespace(f"{name}:aside:{key}") for name in LINES}
    hashes = {queue.namespace(name): queue.namespace(f"{name}:aside:{key}") for name in (LANES, PLACES)}
    lanes = queue.namespace(LANES)
    lane = await redis.hget(lanes, job_id)
    async with queue.redis.pipeline(transaction=True) as pipe:
        for line, aside in lines.items():
            pipe.rename(line, aside)
            pipe.lrem(aside, 0, job_id)
        if lane is not None:
            # It has no limits any more.
            pipe.lrem(queue.namespace(f"flow:lane:{lane.decode()}"), 0, job_id)
            pipe.hdel(lanes, job_id)
        # Without these workers look at no lane.
        for name, aside in hashes.items():
            pipe.rename(name, aside)
        pipe.rpush(queue.namespace(LINES[0]), job_id)
        # There is nothing to rename if no job waits.
        await pipe.execute(raise_on_error=False)
    try:
        yield
    finally:
        for line, aside in lines.items():
            while await queue.redis.lmove(aside, line, "RIGHT", "LEFT"):
                pass
        for name, aside in hashes.items():
            if others := await redis.hgetall(aside):
                await redis.hset(name, mapping=others)
                await redis.delete(aside)
