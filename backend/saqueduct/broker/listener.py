"""Listener: waits for news of single jobs on one Redis connection per process.

SAQ listens to every job of a queue and may miss events between its read and its subscription. Here each job has its
own subscription, and a waiter is notified when it is active: a waiter that reads the job then misses nothing. After a
lost connection the server confirms all subscriptions again, and all waiters are notified to read again.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from saqueduct.broker.batching import Batches
from saqueduct.broker.connections import lasting
from saqueduct.broker.loop_guard import LoopGuard
from saqueduct.broker.outage import answering
from saqueduct.common.own_context import create_shared_task
from saqueduct.errors import QueueUnavailable
from saqueduct.timings import Timings

logger = logging.getLogger("saqueduct")

SUBSCRIBED = "subscribed"
"""News that the subscription is active (again); read the job to learn what happened before."""

CHANNELS_PER_COMMAND = 500
"""Maximum jobs that one command subscribes to."""

News = asyncio.Queue[tuple[str, str]]
"""Ids of jobs, and the news of each: SUBSCRIBED, or its new status."""


class JobListener:
    """Subscribes to jobs by their ids.

    Args:
        redis: client whose pool provides the connection.
        guard: guard of the client's connections.
        timings: intervals, waits and limits.
        per_command: maximum jobs that one command subscribes to.
    """

    def __init__(
        self, redis: Redis, guard: LoopGuard, timings: Timings, per_command: int = CHANNELS_PER_COMMAND
    ) -> None:
        self._redis = redis
        self._timings = timings
        self._guard = guard
        self._pubsub: PubSub = lasting(redis).pubsub()
        self._waiters: defaultdict[str, set[News]] = defaultdict(set)
        self._reader: asyncio.Task[None] | None = None
        self._changes = Batches(self._change, per_command, check=guard.check)
        self._leaving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def news(self, job_id: str, into: News | None = None) -> AsyncIterator[News]:
        """The news of one job for the duration of a block, in a new queue or in `into`; the first is SUBSCRIBED.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        self._guard.check()
        news: News = asyncio.Queue() if into is None else into
        waiters = self._waiters[job_id]
        waiters.add(news)
        try:
            # Also if another waiter has already subscribed: the server confirms again, so the answer to this call
            # is not older than the call.
            await self._changes.add(job_id)
            yield news
        finally:
            waiters.discard(news)
            if not waiters and self._waiters.get(job_id) is waiters:
                del self._waiters[job_id]
                # No caller has to wait for that; and a caller that is cancelled while Redis is silent could not.
                leaving = create_shared_task(self._leave(job_id))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Stop listening and release the connection."""
        for task in [*self._leaving, *([self._reader] if self._reader else [])]:
            task.cancel()
            await asyncio.wait([task])
        self._reader = None
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _leave(self, job_id: str) -> None:
        with suppress(RedisError, OSError, QueueUnavailable):
            await self._changes.add(job_id)

    async def _change(self, job_ids: Sequence[str]) -> list[None]:
        """Subscribe to the jobs that have waiters, and unsubscribe from the others; one command at a time."""
        wanted = [job_id for job_id in job_ids if job_id in self._waiters]
        left = [job_id for job_id in job_ids if job_id not in self._waiters]
        # Each batch separately, as in `ResultChannel`.
        async with answering(self._timings.answer):
            if wanted:
                await self._pubsub.subscribe(*wanted)
                if self._reader is None or self._reader.done():
                    self._reader = create_shared_task(self._read())
            if left and self._reader is not None:
                await self._pubsub.unsubscribe(*left)
        return [None] * len(job_ids)

    async def _read(self) -> None:
        lost = False
        while True:
            try:
                message = await self._pubsub.get_message(timeout=self._timings.listener_check)
                lost = False
                if message is not None:
                    self._tell(message)
                elif self._waiters:
                    # A cluster node that has lost the slot reports it only to commands, not to listeners.
                    await self._redis.exists(next(iter(self._waiters)))
            except asyncio.CancelledError:
                raise
            except Exception as error:
                if not lost:
                    logger.warning("lost the connection that waits for jobs, reconnecting: %s", error)
                lost = True
                await asyncio.sleep(self._timings.listener_pause)

    def _tell(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            word = SUBSCRIBED
        elif message["type"] == "message":
            word = message["data"].decode()
        else:
            return
        job_id = message["channel"].decode()
        for news in self._waiters.get(job_id, ()):
            news.put_nowait((job_id, word))
