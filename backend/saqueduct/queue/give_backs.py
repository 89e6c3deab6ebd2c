"""GiveBacks: the places at limits that running jobs give back, each until Redis has answered or its attempt has ended.

The end of an attempt gives back all that it still holds, see `lua/settle.lua`.
"""

import asyncio
import logging
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from saqueduct.broker.outage import Outage, answering
from saqueduct.broker.scripts import Scripts
from saqueduct.common.own_context import create_shared_task
from saqueduct.errors import QueueUnavailable
from saqueduct.tasks.job import Held
from saqueduct.timings import Timings

logger = logging.getLogger("saqueduct")

Place = tuple[str, ...]
"""The arguments with which `lua/take.lua` gives a place back: those of the call that took it, and if it was used."""


class GiveBacks:
    """Gives places back.

    Args:
        scripts: of the queue.
        timings: intervals, waits and limits.
        queue: the queue's name, for the log.
    """

    def __init__(self, scripts: Scripts, timings: Timings, queue: str) -> None:
        self._scripts = scripts
        self._timings = timings
        self._queue = queue
        self._begun: dict[Held, set[asyncio.Task[None]]] = {}
        """First calls in progress."""
        self.failed: dict[Held, set[Place]] = {}
        """Places whose first call had no answer."""
        self._again: asyncio.Task[None] | None = None

    def begin(self, place: Place, call: "asyncio.Task[Any]") -> "asyncio.Task[None]":
        """Give a place back, or leave the line, after a call that may still take it.

        Returns:
            The first call to Redis. If it gets no answer, it is repeated after that.
        """
        held = place[0], place[1]
        task = create_shared_task(self._begin(held, place, call))
        self._begun.setdefault(held, set()).add(task)
        task.add_done_callback(partial(self._done, held))
        return task

    async def finish(self, held: Held) -> None:
        """Give back now what an attempt has left, so that its next call does not wait for its own place.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        if held not in self._begun and held not in self.failed:
            return
        async with answering(self._timings.answer):
            if begun := self._begun.get(held):
                await asyncio.wait(begun)
            for place in tuple(self.failed.get(held, ())):
                await self._give(place)

    def end(self, held: Held) -> None:
        """An attempt has ended, and all its places with it."""
        self.failed.pop(held, None)

    async def close(self) -> None:
        """Stop, and leave the rest to the ends of the attempts."""
        self.failed.clear()
        begun = [each for tasks in self._begun.values() for each in tasks]
        for task in [*begun, *([self._again] if self._again else [])]:
            task.cancel()
            await asyncio.wait([task])

    async def _begin(self, held: Held, place: Place, call: "asyncio.Task[Any]") -> None:
        await asyncio.wait([call])
        if not call.cancelled():
            # Nobody waits for it any more.
            call.exception()
        try:
            await self._give(place)
        except QueueUnavailable as error:
            self.failed.setdefault(held, set()).add(place)
            if self._again is None or self._again.done():
                self._again = create_shared_task(self._repeat(error))

    def _done(self, held: Held, task: "asyncio.Task[None]") -> None:
        begun = self._begun[held]
        begun.discard(task)
        if not begun:
            del self._begun[held]

    async def _repeat(self, error: QueueUnavailable) -> None:
        """Repeat the calls that had no answer, until none is left."""
        outage = Outage(self._queue, self._timings.longest_redis_pause)
        while self.failed:
            await outage.pause(error)
            try:
                for place in [each for places in self.failed.values() for each in places]:
                    await self._give(place)
            except QueueUnavailable as another:
                error = another
            else:
                outage.over()

    async def _give(self, place: Place) -> None:
        try:
            async with answering(self._timings.answer):
                await self._scripts.run("take", *place)
        except RedisError as error:
            # An answer: the same call would get it again.
            logger.warning("the limit %r is given back at the end of the attempt: %s", place[3], error)
        held = place[0], place[1]
        if places := self.failed.get(held):
            places.discard(place)
            if not places:
                del self.failed[held]
