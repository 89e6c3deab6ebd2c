"""Reports in the log of a web process that Redis is away when it starts, and when Redis is back.

Otherwise nobody would notice before the first call fails: the process starts without Redis, and connects later.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from saqueduct.common.cancellation import end_if_cancelled
from saqueduct.errors import QueueUnavailable
from saqueduct.queue.queue import EngineQueue

logger = logging.getLogger("saqueduct")

REPORT = "saqueduct: report an outage of Redis"
"""Name of the asyncio task."""

FIRST_PAUSE = 0.5
"""Seconds before the second try; each pause is twice as long, up to `Timings.longest_redis_pause`."""


@asynccontextmanager
async def reporting_redis(queue: EngineQueue) -> AsyncIterator[None]:
    """Report during a block, until Redis has answered once; the block does not wait for that.

    Args:
        queue: a connected queue of the process.
    """
    report = asyncio.create_task(_report(queue), name=REPORT)
    try:
        yield
    finally:
        report.cancel()
        await asyncio.wait([report])


async def _report(queue: EngineQueue) -> None:
    away, pause = False, FIRST_PAUSE
    while error := await _error(queue):
        if not away:
            logger.warning(
                "Redis is away, calls to the queue fail until it is back; check that it is running, and redis_url "
                "(REDIS_URL): %s",
                error,
            )
        away = True
        end_if_cancelled()
        await asyncio.sleep(pause)
        pause = min(queue.core.timings.longest_redis_pause, 2 * pause)
    if away:
        logger.warning("Redis is back")


async def _error(queue: EngineQueue) -> QueueUnavailable | None:
    try:
        await queue.ping()
    except QueueUnavailable as error:
        return error
    return None
