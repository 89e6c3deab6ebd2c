"""Running one job alone: a real worker that takes this job and no other waiting job."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, cast

from saqueduct.broker.keys import LANES
from saqueduct.common import clock
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.job_meta import EXPIRES_AT
from saqueduct.testing.incomplete import IncompleteJobs
from saqueduct.testing.running import PAUSE, NotDrained, promote
from saqueduct.worker.worker import EngineWorker

PLACES = "flow:places"
"""The hash of the lanes that have jobs, see `lua/limits.lua`."""

LINES = ("queued", "queued:high", "queued:low")
"""The lists in which the due jobs of a queue wait, as `broker/keys.py` names them."""

GIVES_UP = 0.05
"""Seconds after which a worker ends that should take a job and found none."""


class LoneRun:
    """Runs one job until it has ended, retries included; the queue's clock is advanced to the time that it waits for.

    Args:
        make_worker: makes a worker of the queue, for one attempt.
        queue: connected to the running event loop.
        key: the job's key.
        lock: ensures that one job is taken at a time; others may run meanwhile.
    """

    def __init__(
        self, make_worker: Callable[[], EngineWorker], queue: EngineQueue, key: str, lock: asyncio.Lock
    ) -> None:
        self._make_worker = make_worker
        self._queue = queue
        self._key = key
        self._id = queue.job_id(key)
        self._lock = lock
        self._incomplete = IncompleteJobs(queue)

    async def run(self, timeout: float) -> None:
        """Run it.

        Args:
            timeout: seconds of real time.

        Raises:
            NotDrained: it took longer.
        """
        deadline = time.monotonic() + timeout
        with ExitStack() as journey:
            journey.enter_context(self._passing_limits())
            while due := await self._incomplete.due_times([self._key]):
                if (ahead := due[0] - clock.time_now()) > 0:
                    journey.enter_context(clock.shifted(ahead))
                await self._attempt(deadline)
                if time.monotonic() > deadline:
                    raise NotDrained(f"the job {self._key!r} has not ended within {timeout:g} s")

    async def _attempt(self, deadline: float) -> None:
        worker = self._make_worker()
        worker.burst, worker.max_burst_jobs, worker.dequeue_timeout = True, 1, GIVES_UP
        running: asyncio.Task[None] | None = None
        try:
            async with self._lock:
                await promote([self._queue])
                starts = await self._starts()
                async with self._alone_in_line():
                    running = asyncio.create_task(worker.start())
                    await _until(running, deadline, self._taken if starts else self._ended)
                    if not starts:
                        # This job did not count as the one job that the worker may take.
                        worker.request_stop()
                        await running
            await _until(running, deadline)
        finally:
            if running is not None:
                worker.request_stop()
                await running

    async def _taken(self) -> bool:
        return await self._queue.redis.lpos(self._queue.namespace(LINES[0]), self._id) is None

    async def _ended(self) -> bool:
        return not await self._incomplete.due_times([self._key])

    async def _starts(self) -> bool:
        """False for a job that has expired: a worker takes it only to end it."""
        job = await self._queue.job(self._key)
        return job is not None and clock.time_now() <= job.meta.get(EXPIRES_AT, math.inf)

    @contextmanager
    def _passing_limits(self) -> Iterator[None]:
        self._queue.core.alone += 1
        try:
            yield
        finally:
            self._queue.core.alone -= 1

    @asynccontextmanager
    async def _alone_in_line(self) -> AsyncIterator[None]:
        """Make the job the only waiting one during a block, and one without limits; afterwards the others are in front
        of those that arrived meanwhile."""
        redis, name_of = cast("Any", self._queue.redis), self._queue.namespace
        lines = {name_of(name): name_of(f"{name}:aside:{self._key}") for name in LINES}
        hashes = {name_of(name): name_of(f"{name}:aside:{self._key}") for name in (LANES, PLACES)}
        await self._set_aside(lines, hashes)
        try:
            yield
        finally:
            for line, aside in lines.items():
                while await redis.lmove(aside, line, "RIGHT", "LEFT"):
                    pass
            for name, aside in hashes.items():
                if others := await redis.hgetall(aside):
                    await redis.hset(name, mapping=others)
                    await redis.delete(aside)

    async def _set_aside(self, lines: Mapping[str, str], hashes: Mapping[str, str]) -> None:
        """Rename the lists and hashes of waiting jobs, and queue this job in a list of its own."""
        name_of = self._queue.namespace
        lane = await cast("Any", self._queue.redis).hget(name_of(LANES), self._id)
        async with self._queue.redis.pipeline(transaction=True) as pipe:
            for line, aside in lines.items():
                pipe.rename(line, aside)
                pipe.lrem(aside, 0, self._id)
            if lane is not None:
                # It has no limits any more.
                pipe.lrem(name_of(f"flow:lane:{lane.decode()}"), 0, self._id)
                pipe.hdel(name_of(LANES), self._id)
            # Without these workers look at no lane.
            for name, aside in hashes.items():
                pipe.rename(name, aside)
            pipe.rpush(name_of(LINES[0]), self._id)
            # There is nothing to rename if no job waits.
            await pipe.execute(raise_on_error=False)


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
