"""Blocking calls are made in other threads than that of the event loop: `await asyncio.to_thread(...)`."""

from collections.abc import AsyncIterator, Iterator

import pytest
from dishka import AsyncContainer

from app.queue.catalog import TasksRegistry
from app.settings import Settings
from app.shell import open_container
from saqueduct.blocking import BlockingContainer
from saqueduct.testing import JobKit


@pytest.fixture(autouse=True)
def _own_tasks(own_tasks: None) -> None:
    """The tasks that a test adds go with it."""


@pytest.fixture
async def registry(container: AsyncContainer) -> TasksRegistry:
    return await container.get(TasksRegistry)


@pytest.fixture
async def workers(jobs: JobKit) -> AsyncIterator[None]:
    """Workers in the event loop of the test, which know the tasks that there are by now."""
    async with jobs.working():
        yield


@pytest.fixture
def shell(settings: Settings, empty_redis: None) -> Iterator[BlockingContainer]:
    """The container of a process without an event loop."""
    with open_container(settings) as container:
        yield container
