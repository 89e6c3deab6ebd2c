"""What tests of the queue have injected."""

from collections.abc import AsyncIterator

import pytest
from saq.queue.redis import RedisQueue

from app.settings import Settings
from saqueduct import Queues
from tests.fixtures.clients import patient


@pytest.fixture
async def stock(settings: Settings, queues: Queues) -> AsyncIterator[RedisQueue]:
    """SAQ's own queue, on the queue that the engine has too."""
    queue = RedisQueue(patient(settings.redis.url.reveal()), "default")
    await queue.connect()
    yield queue
    await queue.disconnect()
