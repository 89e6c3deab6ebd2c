"""Reports in the log of a web process that Redis is away when it starts, and when Redis is back.

Otherwise nobody would notice before the first call fails: the process starts without Redis, and connects later.
"""

import asyncio
import logging

from saqueduct.common.cancellation import end_if_cancelled
from saqueduct.errors import QueueUnavailable
from saqueduct.queue.queue import EngineQueue

logger = logging.getLogger("saqueduct")

REPORT = "saqueduct: report an outage of Redis"
"""Name of the asyncio task."""

FIRST_PAUSE = 0.5
"""Seconds before the second try; each pause is twice as long, up to `Timings.longest_redis_pause`."""


class RedisOutageReport:
    """Reports an outage of Redis during a block, until Redis has answered once; the block does not wait for that.

    Args:
        queue: a connected queue of the process.
    """

    def __init__(self, queue: EngineQueue) -> None:
        self._queue = queue
        self._report: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._report = asyncio.create_task(self._until_there(), name=REPORT)

    async def __aexit__(self, *_: object) -> None:
        if self._report is not None:
            self._report.cancel()
            await asyncio.wait([self._report])

    async def _until_there(self) -> None:
        away, pause = False, FIRST_PAUSE
        while error := await self._error():
            if not away:
                logger.warning(
                    "Redis is away, calls to the queue fail until it is back; check that it is running, and redis_url "
                    "(REDIS_URL): %s",
                    error,
                )
            away = True
            end_if_cancelled()
            await asyncio.sleep(pause)
            pause = min(self._queue.core.timings.longest_redis_pause, 2 * pause)
        if away:
            logger.warning("Redis is back")

    async def _error(self) -> QueueUnavailable | None:
        try:
            await self._queue.ping()
        except QueueUnavailable as error:
            return error
        return None
