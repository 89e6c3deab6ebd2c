"""The pytest plugin: fixtures and a marker. Everything else loads when one of them is used.

PYTEST_DONT_REWRITE: there are no assert statements here.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from saqueduct.application import Saqueduct
    from saqueduct.config import SaqueductConfig
    from saqueduct.injection.injector import Injector
    from saqueduct.queue.queues import Queues
    from saqueduct.testing.kit import JobKit
    from saqueduct.testing.setup import Setup

WorkerFixture = Callable[..., AbstractContextManager[None]]
"""The type of the fixture `saqueduct_worker`."""

MARKER = 'saqueduct(mode="manual"): what happens to jobs in this test: "manual", "inline" or "real"'


def _async_fixture(function: Callable[..., Any]) -> object:
    """A fixture that is a coroutine function, also in the strict mode of pytest-asyncio."""
    try:
        import pytest_asyncio
    except ModuleNotFoundError:
        # Another plugin runs coroutines, such as anyio's.
        return pytest.fixture(function)
    return pytest_asyncio.fixture(function)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(scope="session")
def _saqueduct_redis() -> Iterator[str]:
    from saqueduct.testing.servers import redis_server

    with redis_server() as url:
        yield url


@pytest.fixture
def saqueduct_redis_url(_saqueduct_redis: str) -> str:
    """URL of a Redis for tests, emptied for this test.

    It is started once per run, with the extra `embedded`; TEST_REDIS_URL names another one, whose data is deleted.
    """
    from redis import Redis

    with Redis.from_url(_saqueduct_redis) as redis:
        redis.flushall()
    return _saqueduct_redis


@pytest.fixture(scope="session")
def _saqueduct_database() -> Iterator[str]:
    from saqueduct.testing.servers import postgres_server

    with postgres_server() as url:
        # Here: without PostgreSQL, SQLAlchemy is not needed.
        from saqueduct.testing.database import make_tables

        make_tables(url)
        yield url


@pytest.fixture
def saqueduct_database_url(_saqueduct_database: str) -> str:
    """URL of a PostgreSQL for tests, with the tables of the library, emptied for this test.

    It is started once per run, with the extra `embedded`; TEST_DATABASE_URL names another one, where those tables are
    made. Other tables in it are the project's own business.
    """
    from saqueduct.testing.database import empty_tables

    empty_tables(_saqueduct_database)
    return _saqueduct_database


@pytest.fixture
def saqueduct_config(saqueduct_redis_url: str) -> "SaqueductConfig":
    """The settings of the project under test. Redefine it in your conftest.py to add to these:

    @pytest.fixture
    def saqueduct_config(saqueduct_redis_url):
        return SaqueductConfig(redis_url=saqueduct_redis_url, queues=["default", "mails"])
    """
    from saqueduct.config import SaqueductConfig

    return SaqueductConfig(redis_url=saqueduct_redis_url)


@pytest.fixture
def saqueduct_application() -> Any:
    """The Litestar application whose dependencies tasks are injected from; None. Redefine it to name one."""
    return None


@pytest.fixture
def saqueduct_setup(saqueduct_config: "SaqueductConfig", saqueduct_application: Any) -> "Setup":
    """How the kit builds queues, injector and workers. To redefine it, see `saqueduct.testing.QueueSetup`."""
    from saqueduct.testing.setup import ConfiguredSetup

    return ConfiguredSetup(saqueduct_config, saqueduct_application)


@_async_fixture
async def saqueduct(saqueduct_config: "SaqueductConfig", saqueduct_application: Any) -> "AsyncIterator[Saqueduct]":
    """The queues, connected to the event loop of the test: `task.enqueue(...)` works in it."""
    from saqueduct.testing.setup import ConfiguredSetup

    async with ConfiguredSetup(saqueduct_config, saqueduct_application).build() as connected:
        yield connected


@pytest.fixture
def saqueduct_opened(saqueduct: "Saqueduct") -> "tuple[Queues, Injector]":
    """Queues and injector for jobs that run in the event loop of the test."""
    return saqueduct.queues, saqueduct.injectors.all


@pytest.fixture
def saqueduct_jobs(request: pytest.FixtureRequest, saqueduct_setup: "Setup") -> "Iterator[JobKit]":
    """The test kit. In an async test the queues are connected to its event loop."""
    from saqueduct.testing.commits import commits_that_enqueue
    from saqueduct.testing.kit import JobKit

    asynchronous = inspect.iscoroutinefunction(request.function)
    kit = JobKit(saqueduct_setup, request.getfixturevalue("saqueduct_opened") if asynchronous else None)
    with commits_that_enqueue():
        yield kit
    kit.close()


@pytest.fixture
def saqueduct_worker(saqueduct_setup: "Setup") -> WorkerFixture:
    """Workers for a test without an event loop:

    with saqueduct_worker():
        assert ping.delay().get(timeout=10) == "pong"
    """
    from saqueduct.testing.threads import worker_thread

    def run(*, schedules: bool = False) -> AbstractContextManager[None]:
        return worker_thread(saqueduct_setup, schedules=schedules)

    return run


@pytest.fixture(autouse=True)
def _saqueduct_mode(request: pytest.FixtureRequest) -> Iterator[None]:
    """The mode of `@pytest.mark.saqueduct(mode=...)`, for the whole test and its other fixtures."""
    marker = request.node.get_closest_marker("saqueduct")
    if marker is None:
        yield
        return
    if marker.args or marker.kwargs.keys() != {"mode"}:
        raise pytest.UsageError(f'{request.node.nodeid}: write @pytest.mark.saqueduct(mode="inline")')
    kit: JobKit = request.getfixturevalue("saqueduct_jobs")
    with kit.mode(marker.kwargs["mode"]):
        yield
