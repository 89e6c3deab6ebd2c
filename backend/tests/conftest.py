"""Fixtures of all tests: real servers once a run, an empty Redis and empty tables for each test."""

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from dishka import AsyncContainer
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

import app.db.models  # noqa: F401
from app.db.migrate import migrate
from app.db.session import make_engine, make_sessionmaker
from app.queue.catalog import TasksRegistry
from app.settings import Settings, load_settings
from saqueduct import Queues, get_registry
from saqueduct.blocking import BlockingContainer
from saqueduct.injection.dishka import DishkaInjector
from saqueduct.injection.injector import Injector
from saqueduct.litestar import SaqueductPlugin
from saqueduct.sizes import Sizes
from saqueduct.testing import JobKit, QueueSetup, WorkerFixture
from saqueduct.timings import Timings
from saqueduct.worker.worker import EngineWorker
from tests.fixtures import clusters, python
from tests.fixtures.application import QuickPasswords, application, variables, warm_up
from tests.fixtures.composition import build_container, build_queues, build_workers
from tests.fixtures.emptying import Emptying
from tests.parallel.options import processes

pytest_plugins = [
    "tests.parallel.plugin",
    "tests.fixtures.servers",
    "tests.fixtures.engines",
    "tests.fixtures.certificates",
    "tests.fixtures.chromium",
    "saqueduct.testing.plugin",
    "pytester",
]


# Nearly all that the imports and the collection of tests make stays: the garbage collector need not visit it, neither
# meanwhile nor, once frozen, during the tests. Together that is a tenth of their processor time.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    if processes(session.config) > 1:
        # Made beside the collection; all processes share them.
        python.server()
        clusters.begin(migrate_at)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if unstable := next((item.nodeid for item in items if " at 0x" in item.nodeid), None):
        raise pytest.UsageError(f"give the parameters ids, because an address differs in each run: {unstable}")


def pytest_collection_finish(session: pytest.Session) -> None:
    if processes(session.config) > 1:
        warm_up()
        clusters.wait()
    gc.collect()
    gc.freeze()
    # Few of the objects that a test makes are part of a cycle, and most tests free what they make before these many.
    gc.set_threshold(200_000, 10, 10)
    gc.enable()


@pytest.fixture(scope="session")
def migrated_url(database_url: str) -> str:
    """The test database with all migrations applied."""
    if not clusters.begun():
        migrate_at(database_url)
    return database_url


def migrate_at(url: str) -> None:
    """Apply all migrations to a database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        patch.setenv("REDIS_URL", "redis://unused")
        migrate()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own; pytest's fixture looks through those of all tests before."""
    path = tmp_path_factory.getbasetemp() / f"test{next(_numbers)}"
    path.mkdir(mode=0o700)
    return path


_numbers = itertools.count()


@pytest.fixture
def environment(redis_url: str, migrated_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment variables of the application under test."""
    return variables(redis_url, migrated_url, tmp_path)


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load_settings(environment)


@pytest.fixture(scope="session")
def emptying() -> Iterator[Emptying]:
    with Emptying() as emptying:
        yield emptying


@pytest.fixture
def empty_redis(settings: Settings, emptying: Emptying) -> None:
    emptying.redis(settings.redis.url.reveal())


@pytest.fixture
def timings(request: pytest.FixtureRequest) -> Timings:
    """The timings of the queues: the usual ones, but for what `@pytest.mark.timings(...)` says."""
    return Timings(**_of_markers(request, "timings"))


@pytest.fixture
def sizes(request: pytest.FixtureRequest) -> Sizes:
    """The sizes of the queues: the usual ones, but for what `@pytest.mark.sizes(...)` says."""
    return Sizes(**_of_markers(request, "sizes"))


def _of_markers(request: pytest.FixtureRequest, name: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers(name))):
        changes |= marker.kwargs
    return changes


@pytest.fixture
def saqueduct_setup(settings: Settings, timings: Timings, sizes: Sizes, empty_redis: None) -> QueueSetup:
    """The application's queues, injector and workers, for the test kit."""

    def injector(queues: Queues) -> Injector:
        return DishkaInjector(build_container(settings, queues))

    def workers(queues: Queues, injector: Injector) -> list[EngineWorker]:
        return build_workers(settings, queues, injector.container)

    return QueueSetup(partial(build_queues, settings, timings, sizes), injector, workers)


@pytest.fixture
def registry(saqueduct_setup: QueueSetup) -> Iterator[TasksRegistry]:
    """All tasks with blocking calls, for tests without an event loop."""

    def build() -> tuple[Queues, Injector]:
        queues = saqueduct_setup.queues()
        return queues, saqueduct_setup.injector(queues)

    with BlockingContainer(build) as container:
        yield container.get(TasksRegistry)


@pytest.fixture
def own_tasks() -> Iterator[None]:
    """The application's tasks stay, those a test adds go."""
    registry = get_registry()
    before = registry.get_all_tasks()
    with registry.isolated():
        for each in before:
            registry.add(each)
        yield


@pytest.fixture
def only_own_tasks() -> Iterator[None]:
    """Only the tasks of the test."""
    with get_registry().isolated():
        yield


@pytest.fixture
async def queues(settings: Settings, timings: Timings, sizes: Sizes, empty_redis: None) -> AsyncIterator[Queues]:
    """The application's queues, on an empty Redis."""
    queues = build_queues(settings, timings, sizes)
    await queues.connect()
    yield queues
    await queues.disconnect()


@pytest.fixture
async def engine(settings: Settings, migrated_url: str, emptying: Emptying) -> AsyncIterator[AsyncEngine]:
    """An engine on the migrated database, whose tables are emptied first."""
    emptying.postgres(migrated_url)
    engine = make_engine(settings)
    yield engine
    await engine.dispose()


@pytest.fixture
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """A session of the test's own; what it writes others see after `commit`."""
    async with make_sessionmaker(engine)() as session:
        yield session


@pytest.fixture
async def container(settings: Settings, queues: Queues, engine: AsyncEngine) -> AsyncIterator[AsyncContainer]:
    """The application's container. (`engine` empties the tables.)"""
    container = build_container(settings, queues, QuickPasswords())
    yield container
    await container.close()


@pytest.fixture
def injector(container: AsyncContainer) -> Injector:
    """What jobs of the application are injected from."""
    return DishkaInjector(container)


@pytest.fixture
def saqueduct_opened(queues: Queues, injector: Injector) -> tuple[Queues, Injector]:
    """From these run the jobs of async tests."""
    return queues, injector


@pytest.fixture
def jobs(saqueduct_jobs: JobKit) -> JobKit:
    """The test kit."""
    return saqueduct_jobs


@pytest.fixture
def worker(saqueduct_worker: WorkerFixture) -> WorkerFixture:
    """Workers beside a test without an event loop."""
    return saqueduct_worker


@pytest.fixture
async def client(
    settings: Settings, timings: Timings, sizes: Sizes, queues: Queues, engine: AsyncEngine
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, called in this process as if from this machine."""
    shared = application(settings)
    saqueduct = shared.plugins.get(SaqueductPlugin).saqueduct
    for queue in saqueduct.queues:
        queue.core.timings = timings
    if saqueduct.store is not None:
        saqueduct.store.timings, saqueduct.store.sizes = timings.postgres, sizes
    transport = httpx.ASGITransport(cast("Any", shared), raise_app_exceptions=False)
    async with (
        running(shared),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        yield client


@asynccontextmanager
async def running(application: Litestar) -> AsyncIterator[None]:
    """The application's lifespan, in one task from start to end: a fixture's two halves run in two."""
    started, stop = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with application.lifespan():
            started.set()
            await stop.wait()

    task = asyncio.create_task(hold())
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        yield
    finally:
        stop.set()
        await task
