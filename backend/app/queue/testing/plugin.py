"""The fixtures and the marker of the plugin."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import pytest_asyncio
from dishka import AsyncContainer

from app.queue.engine.queues import Queues
from app.queue.testing.kit import JobKit
from app.queue.testing.setup import QueueSetup
from app.queue.testing.threads import worker_thread

WorkerFixture = Callable[..., AbstractContextManager[None]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", 'queue(mode="manual"): what happens to jobs in this test: "manual", "inline" or "real"'
    )


@pytest.fixture
def queue_setup() -> QueueSetup:
    """How the project builds its queues, container and workers; each project says so in its conftest."""
    raise pytest.UsageError("app.queue.testing needs a fixture `queue_setup` in your conftest.py; see QueueSetup")


@pytest_asyncio.fixture
async def jobs(queue_setup: QueueSetup, queues: Queues, container: AsyncContainer) -> AsyncIterator[JobKit]:
    """The test kit. `queues` and `container` are the project's, connected, and empty at the start of a test."""
    kit = JobKit(queue_setup, queues, container)
    yield kit
    kit.close()


@pytest.fixture
def worker(queue_setup: QueueSetup, queues: Queues) -> WorkerFixture:
    """Workers beside a test without an event loop:

    with worker():
        assert ping.delay().get(timeout=10) == {"result": "pong"}
    """

    def run(*, schedules: bool = False) -> AbstractContextManager[None]:
        return worker_thread(queue_setup, schedules=schedules)

    return run


@pytest.fixture(autouse=True)
def _queue_mode(request: pytest.FixtureRequest) -> Iterator[None]:
    """The mode of `@pytest.mark.queue(mode=...)`, for the whole test and its other fixtures."""
    marker = request.node.get_closest_marker("queue")
    if marker is None:
        yield
        return
    if marker.args or marker.kwargs.keys() != {"mode"}:
        raise pytest.UsageError(f'{request.node.nodeid}: write @pytest.mark.queue(mode="inline")')
    kit: JobKit = request.getfixturevalue("jobs")
    with kit.mode(marker.kwargs["mode"]):
        yield
