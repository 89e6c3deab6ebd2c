"""A pytest plugin for SAQ's tests: the engine's classes under the names of SAQ's, and an empty Redis for each test."""

import os
from typing import Any

import pytest
import redis
import saq.queue.redis
import saq.worker

from app.queue.engine.queue import EngineQueue
from app.queue.engine.worker import EngineWorker

if not os.environ.get("CONFORMANCE_STOCK"):
    queue_module: Any = saq.queue.redis
    worker_module: Any = saq.worker
    queue_module.RedisQueue = EngineQueue
    worker_module.Worker = EngineWorker


@pytest.fixture(autouse=True)
def empty_redis() -> None:
    """Nothing is left of the test before, of which some go on for a moment after their end."""
    with redis.Redis.from_url(os.environ["CONFORMANCE_REDIS_URL"]) as client:
        client.flushdb()
