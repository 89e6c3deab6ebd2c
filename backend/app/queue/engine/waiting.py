"""Waiting: what wakes a worker that has free slots and found no job."""

import asyncio
import itertools
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


class Waiting:
    """Sets `news` when a job comes into line or due, or a pause ends.

    Args:
        queue: the queue.
        news: of the worker.
        stopping: set when the worker takes no more jobs.
    """

    def __init__(self, queue: "EngineQueue", news: asyncio.Event, stopping: asyncio.Event) -> None:
        self._queue = queue
        self._news = news
        self._stopping = stopping
        self._peeks: dict[str, asyncio.Task[None]] = {}
        """By the list at which each waits: that of the jobs, and while the queue is paused that of its resumption."""
        self._promotions: set[asyncio.Task[None]] = set()

    def begin(self, paused: bool, due: float | None) -> asyncio.TimerHandle | None:
        """Begin to wait.

        Args:
            paused: True to wait for the end of a pause instead of a job.
            due: seconds until a delayed job comes due; None: there is none.

        Returns:
            The timer of that job, to be cancelled by who has stopped to wait.
        """
        name = RESUMED if paused else "queued"
        if name not in self._peeks:
            self._peeks[name] = asyncio.create_task(self._peek_at(name))
        return None if due is None else asyncio.get_running_loop().call_later(max(0.0, due), self._promote)

    def stop(self) -> None:
        """Wait no more."""
        for peek in self._peeks.values():
            peek.cancel()

    async def close(self) -> None:
        """Wait until nothing is under way that needs a connection."""
        for promotion in self._promotions:
            promotion.cancel()
        if under_way := {*self._peeks.values(), *self._promotions}:
            await asyncio.wait(under_way, timeout=PEEK)

    async def _peek_at(self, name: str) -> None:
        """Wait until a list of the queue is not empty, on one connection.

        The head is moved to where it is: nothing changes, and nothing is lost with this process.
        """
        key = self._queue.namespace(name)
        # A Redis that has forgotten a pause, or lost it in a failover, tells nobody of its end.
        turns = range(PAUSED_PEEKS) if name == RESUMED else itertools.repeat(0)
        try:
            for _ in turns:
                if self._stopping.is_set():
                    break
                if await self._queue.redis.blmove(key, key, cast("int", PEEK), "LEFT", "LEFT") is not None:
                    break
        except (RedisError, OSError) as error:
            await self._queue.outage.pause(error, self._stopping)
        finally:
            del self._peeks[name]
            self._news.set()

    def _promote(self) -> None:
        promotion = asyncio.create_task(self._promote_due())
        self._promotions.add(promotion)
        promotion.add_done_callback(self._promotions.discard)

    async def _promote_due(self) -> None:
        with suppress(RedisError, OSError):
            if promoted := await self._queue.schedule():
                saq.worker.logger.info("Scheduled %s", promoted)
        self._news.set()
