"""Waiting: what wakes a worker that has free slots and found no job.

A job that comes into line wakes one worker, however many wait: Redis takes it out of the line for the one that has
waited longest, and keeps it in a list beside, AWAITED. Nothing is lost with that worker: whoever leases next, or looks
for orphans, first puts back what is there.
"""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import saq.worker
from redis.exceptions import RedisError

from app.queue.engine.pausing import RESUMED

if TYPE_CHECKING:
    from app.queue.engine.queue import EngineQueue

PEEK = 4.0
"""Seconds that one blocking command waits for a job; redis-py takes five without an answer for a lost connection."""

PAUSED_PEEKS = 2
"""Times PEEK that a worker waits for the end of a pause, before it asks for jobs all the same."""

QUEUED = "queued"
AWAITED = "awaited"
"""A list of the queue: jobs whose coming has woken a worker that is about to lease."""

GIVING_BACK = 1.0
"""Seconds that Redis gets, when a worker stops, to take back what that worker was just woken for."""


class Waiting:
    """Tells a worker when a job comes into line or due, or a pause ends.

    Args:
        queue: the queue.
        tell: the worker.
        stopping: set when the worker takes no more jobs.
    """

    def __init__(self, queue: "EngineQueue", tell: Callable[[], None], stopping: asyncio.Event) -> None:
        self._queue = queue
        self._tell = tell
        self._stopping = stopping
        self._peeks: dict[str, asyncio.Task[None]] = {}
        """By the list at which each waits: that of the jobs, and while the queue is paused that of its resumption."""
        self._woken = False
        """True: there may be a job in AWAITED that has woken this worker, and that nobody leases meanwhile."""
        self._timer: asyncio.TimerHandle | None = None
        self._promotions: set[asyncio.Task[None]] = set()

    def begin(self, *, paused: bool) -> None:
        """Begin to wait for a job, or for the end of a pause."""
        name = RESUMED if paused else QUEUED
        if name not in self._peeks:
            self._peeks[name] = asyncio.create_task(self._peek_at(name))

    def due_in(self, seconds: float | None) -> None:
        """When the next delayed job comes due, so many seconds from now; it then comes into line, whoever runs it."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if seconds is not None and not self._stopping.is_set():
            self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._promote)

    def leasing(self) -> None:
        """The worker asks for jobs now, and so for that which has woken it."""
        self._woken = False

    async def pass_on(self) -> None:
        """The worker has no free slot: let another one be woken by what has woken it."""
        if self._woken:
            self._woken = False
            with suppress(RedisError, OSError):
                key, there = self._queue.namespace(AWAITED), self._queue.namespace(QUEUED)
                await self._queue.redis.lmove(key, there, "RIGHT", "LEFT")

    def stop(self) -> None:
        """Wait no more."""
        self._woken = self._woken or QUEUED in self._peeks
        for peek in self._peeks.values():
            peek.cancel()
        self.due_in(None)

    async def close(self) -> None:
        """Wait until nothing is under way that needs a connection."""
        for promotion in self._promotions:
            promotion.cancel()
        if under_way := {*self._peeks.values(), *self._promotions}:
            await asyncio.wait(under_way, timeout=PEEK)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.pass_on(), GIVING_BACK)

    async def _peek_at(self, name: str) -> None:
        """Wait until a list of the queue is not empty, on one connection."""
        key, there = self._queue.namespace(name), self._queue.namespace(AWAITED if name == QUEUED else name)
        # A Redis that has forgotten a pause, or lost it in a failover, tells nobody of its end.
        turns = range(PAUSED_PEEKS) if name == RESUMED else itertools.repeat(0)
        try:
            for _ in turns:
                if self._stopping.is_set():
                    break
                if await self._queue.redis.blmove(key, there, cast("int", PEEK), "LEFT", "RIGHT") is not None:
                    self._woken = self._woken or name == QUEUED
                    break
        except (RedisError, OSError) as error:
            await self._queue.outage.pause(error, self._stopping)
        finally:
            del self._peeks[name]
            self._tell()

    def _promote(self) -> None:
        promotion = asyncio.create_task(self._promote_due())
        self._promotions.add(promotion)
        promotion.add_done_callback(self._promotions.discard)

    async def _promote_due(self) -> None:
        with suppress(RedisError, OSError):
            if promoted := await self._queue.schedule():
                saq.worker.logger.info("Scheduled %s", promoted)
        self._tell()
