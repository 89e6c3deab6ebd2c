"""Saqueduct: the queues and workers of a SaqueductConfig, without a web application."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from dishka import Provider, Scope, make_async_container, provide
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from saqueduct import INJECTED, ConfigurationError, Context, Saqueduct, SaqueductConfig, get_registry, task
from saqueduct.postgres.engine import sqlalchemy_url
from saqueduct.timings import Timings
from tests.fixtures.poll import eventually


@pytest.fixture
def config(redis_url: str, empty_redis: None) -> Iterator[SaqueductConfig]:
    with get_registry().isolated(), pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        yield SaqueductConfig(redis_url=redis_url, grace_period=5)


async def test_a_script_enqueues_and_waits_while_a_worker_runs_beside_it(config: SaqueductConfig) -> None:
    @task
    async def add(ctx: Context, *, a: int, b: int) -> int:
        return a + b

    async with Saqueduct(config) as saqueduct, saqueduct.working():
        job = await add.enqueue(a=1, b=2)
        assert await job.result(timeout=60) == 3
        assert (await saqueduct.queues.find(job.key)).result == 3


async def test_run_worker_lets_a_running_job_end_when_it_is_cancelled(config: SaqueductConfig) -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    @task
    async def slow(ctx: Context) -> str:
        started.set()
        await finish.wait()
        return "done"

    async with Saqueduct(config) as saqueduct:
        running = asyncio.create_task(saqueduct.run_worker())
        job = await slow.enqueue()
        await started.wait()
        running.cancel()
        finish.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await job.result(timeout=60) == "done"


async def test_a_missing_redis_is_an_error_that_names_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(ConfigurationError, match=r"redis_url=.*REDIS_URL"):
        Saqueduct(SaqueductConfig(environment="production"))


def test_records_without_postgresql_are_an_error(config: SaqueductConfig) -> None:
    config.records, config.environment = True, "production"
    with pytest.raises(ConfigurationError, match=r"production needs database_url: .*DATABASE_URL"):
        Saqueduct(config)


async def test_a_task_that_was_registered_later_on_an_unknown_queue_is_an_error_at_connect(
    config: SaqueductConfig,
) -> None:
    saqueduct = Saqueduct(config)

    @task(queue="elsewhere")
    async def stray(ctx: Context) -> None: ...

    with pytest.raises(ConfigurationError, match="stray: queue='elsewhere'"):
        await saqueduct.connect()


async def test_the_engine_of_the_application_serves_the_records_and_stays_open(
    config: SaqueductConfig, migrated_url: str
) -> None:
    @task(durable=True, record="all")
    async def kept(ctx: Context) -> str:
        return "kept"

    engine = create_async_engine(sqlalchemy_url(migrated_url), pool_size=1, max_overflow=0)
    config.engine = engine
    async with Saqueduct(config) as saqueduct, saqueduct.working(), engine.connect() as only_connection:
        # The pool of the application is used up, the library has one of its own.
        job = await kept.enqueue()
        assert await job.result(timeout=60) == "kept"
        query = text("SELECT count(*) FROM job_records WHERE key = :key AND status = 'complete'")
        await only_connection.execution_options(isolation_level="AUTOCOMMIT")
        await eventually(lambda: only_connection.scalar(query, {"key": job.key}))
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
    await engine.dispose()


def test_an_engine_of_another_database_is_refused(config: SaqueductConfig) -> None:
    config.engine = object()
    with pytest.raises(ConfigurationError, match=r"engine: .*postgresql\+asyncpg"):
        Saqueduct(config)


@pytest.mark.parametrize("made", [False, True], ids=["container", "function that makes one"])
async def test_tasks_are_injected_from_a_container_which_is_closed_only_if_it_was_made_for_it(
    config: SaqueductConfig, made: bool
) -> None:
    closed: list[str] = []

    class Greeter:
        word = "hello"

    class Providers(Provider):
        @provide(scope=Scope.APP)
        async def greeter(self) -> AsyncIterator[Greeter]:
            yield Greeter()
            closed.append("greeter")

    @task
    async def greet(ctx: Context, *, greeter: Greeter = INJECTED) -> str:
        return greeter.word

    container = make_async_container(Providers())
    config.container = (lambda queues: container) if made else container
    async with Saqueduct(config) as saqueduct, saqueduct.working():
        job = await greet.enqueue()
        assert await job.result(timeout=60) == "hello"
    assert closed == (["greeter"] if made else [])
    await container.close()


async def test_another_worker_takes_the_place_of_one_that_stops_by_itself(
    config: SaqueductConfig, caplog: pytest.LogCaptureFixture
) -> None:
    config.timings = Timings(worker_restart=0.01)

    @task
    async def useless(ctx: Context) -> None:
        worker: Any = ctx["worker"]
        worker.give_up("a job says so")

    @task
    async def after(ctx: Context) -> str:
        return "ran"

    async with Saqueduct(config) as saqueduct, saqueduct.working(restart=True):
        await useless.enqueue()
        await eventually(lambda: "is replaced by another one" in caplog.text)
        job = await after.enqueue()
        assert await job.result(timeout=60) == "ran"


def test_settings_of_the_engine_reach_it(config: SaqueductConfig) -> None:
    config.max_recoveries, config.batch_bytes, config.timings = 5, 2048, Timings(lease=30.0)
    [queue] = Saqueduct(config).queues
    assert (queue.core.max_recoveries, queue.core.batch_bytes, queue.core.timings.lease) == (5, 2048, 30.0)


async def test_jobs_of_more_bytes_than_one_call_brings_go_in_several(config: SaqueductConfig) -> None:
    @task
    async def take(ctx: Context, *, text: str) -> None: ...

    config.batch_bytes = 1024
    sent: list[int] = []
    async with Saqueduct(config) as saqueduct:
        jobs = [saqueduct.registry.get("take").job({"text": "x" * 400}) for _ in range(5)]
        await saqueduct.queues.get("default").enqueue_many(jobs, sent.append)
    assert len(sent) > 2
