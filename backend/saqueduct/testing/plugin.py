"""The fixtures and the marker of the plugin."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from saqueduct.testing.commits import commits_that_enqueue
from saqueduct.testing.kit import JobKit
from saqueduct.testing.setup import QueueSetup
from saqueduct.testing.threads import worker_thread

WorkerFixture = Callable[..., AbstractContextManager[None]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", 'queue(mode="manual"): what happens to jobs in this test: "manual", "inline" or "real"'
    )


@pytest.fixture
def queue_setup() -> QueueSetup:
    """How the project builds its queues, injector and workers, on a Redis that is empty when a test begins.

    Each project says so in its conftest.py.
    """
    raise pytest.UsageError("saqueduct.testing needs a fixture `queue_setup` in your conftest.py; see QueueSetup")


@pytest.fixture
def jobs(request: pytest.FixtureRequest, queue_setup: QueueSetup) -> Iterator[JobKit]:
    """The test kit. An async test's jobs are injected by the project's `injector`, through its `queues`."""
    of_the_test = None
    if inspect.iscoroutinefunction(request.function):
        of_the_test = request.getfixturevalue("queues"), request.getfixturevalue("injector")
    kit = JobKit(queue_setup, of_the_test)
    with commits_that_enqueue():
        yield kit
    kit.close()


@pytest.fixture
def worker(queue_setup: QueueSetup) -> WorkerFixture:
    """Workers beside a test without an event loop:

    with worker():
        assert registry.ping.delay().get(timeout=10) == {"result": "pong"}
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
