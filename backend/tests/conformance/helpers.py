"""What SAQ's tests import as `tests.helpers`, which is not part of its published source."""

import os
import unittest
from typing import Any

from redis.asyncio import Redis
from saq.queue import Queue
from saq.queue.redis import RedisQueue

URL = os.environ.get("CONFORMANCE_REDIS_URL", "redis://unset")
"""The Redis that `python -m tests.conformance` starts."""


async def create_redis_queue(url: str = URL, **options: Any) -> Queue:
    """A connected queue."""
    queue = Queue.from_url(url, **options) if "://localhost" in url else RedisQueue.from_url(url, **options)
    await queue.connect()
    return queue


async def cleanup_queue(queue: Any) -> None:
    """Empty Redis and close the queue, of either kind."""
    async with Redis.from_url(URL) as redis:
        await redis.flushdb()
    await queue.disconnect()


async def setup_postgres() -> None:
    """Skip: the engine replaces nothing of SAQ's PostgreSQL queue."""
    raise unittest.SkipTest("PostgreSQL's queue is SAQ's own")


async def create_postgres_queue(**_: Any) -> Queue:
    """Skip, as `setup_postgres`."""
    raise unittest.SkipTest("PostgreSQL's queue is SAQ's own")


async def teardown_postgres() -> None:
    """Nothing was set up."""
