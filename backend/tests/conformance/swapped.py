"""A pytest plugin for SAQ's tests: the engine's classes under the names of SAQ's, and an empty Redis for each test."""

import importlib
import os
import time
from typing import Any

import pytest
import redis
import saq.queue.redis
import saq.utils
import saq.worker

from saqueduct.common import clock
from saqueduct.queue.queue import EngineQueue
from saqueduct.worker.worker import EngineWorker

time_machine: Any = importlib.import_module("time_machine")
"""Comes with SAQ's tests."""


def _offset() -> float:
    """SAQ's tests set the clock that SAQ reads, or travel in time; the scripts take it as a test's."""
    hatch = time_machine.escape_hatch
    return saq.utils.now_seconds() - float(hatch.time.time() if hatch.is_travelling() else time.time())


if not os.environ.get("CONFORMANCE_STOCK"):
    queue_module: Any = saq.queue.redis
    worker_module: Any = saq.worker
    queue_module.RedisQueue = EngineQueue
    worker_module.Worker = EngineWorker
    queue_clock: Any = clock
    queue_clock.offset = _offset


@pytest.fixture(autouse=True)
def empty_redis() -> None:
    """Nothing is left of the test before, of which some go on for a moment after their end."""
    with redis.Redis.from_url(os.environ["CONFORMANCE_REDIS_URL"]) as client:
        client.flushdb()
