"""Jobs in the outbox whose queue no worker serves, or nobody knows any more."""

import httpx
import msgspec
import pytest
from dishka import AsyncContainer
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.db.session import make_sessionmaker, transaction
from app.settings import Settings
from saqueduct import Context, Queues, get_registry, task
from saqueduct.postgres.models import OutboxJob
from saqueduct.postgres.store import PostgresStore
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, nothing_published
from tests.queue.kit import working

with get_registry().isolated():

    @task
    async def greet(ctx: Context) -> None: ...

    @task(durable=True)
    async def lasts(ctx: Context) -> None: ...


@pytest.fixture(autouse=True)
def tasks(own_tasks: None) -> None:
    get_registry().add(greet)
    get_registry().add(lasts)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Of a process whose workers serve one of its two queues."""
    return msgspec.structs.replace(
        settings,
        queue=msgspec.structs.replace(settings.queue, names="default,other"),
        worker=msgspec.structs.replace(settings.worker, queues="default"),
    )


async def left_behind(engine: AsyncEngine, queue: str) -> str:
    """A job that was written an hour ago, and that nobody has enqueued; returns its key."""
    async with nothing_published(), transaction(make_sessionmaker(engine)) as session:
        existing = queue if queue in ("default", "other") else "default"
        handle = await greet.options(queue=existing, session=session).enqueue()
    async with engine.begin() as connection:
        hour = text("now() - interval '1 hour'")
        await connection.execute(update(OutboxJob).values(queue=queue, created_at=hour))
    return handle.key


async def test_a_job_of_an_unknown_queue_is_reported(
    store: PostgresStore, engine: AsyncEngine, queues: Queues, caplog: pytest.LogCaptureFixture, outbox: Look
) -> None:
    await left_behind(engine, "gone")
    for _ in range(2):
        await store.relay.look_elsewhere([queues.get("default")])
    [message] = [record.getMessage() for record in caplog.records if "'gone'" in record.getMessage()]
    assert "1 jobs of the queue 'gone'" in message
    assert "QUEUE_NAMES" in message
    assert "'gone'" in store.recorder.problem
    assert len(await outbox()) == 1


async def test_health_reports_it(
    settings: Settings, queues: Queues, container: AsyncContainer, engine: AsyncEngine, client: httpx.AsyncClient,
) -> None:  # fmt: skip
    await left_behind(engine, "gone")
    async with working(settings, queues, container, schedules=False):

        async def problems() -> bool:
            return "'gone'" in str((await client.get("/health/ready")).json()["workers"]["problems"])

        await eventually(problems)


async def test_the_report_ends_with_its_cause(store: PostgresStore, engine: AsyncEngine, queues: Queues) -> None:
    await left_behind(engine, "gone")
    await store.relay.look_elsewhere([queues.get("default")])
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM outbox"))
    await store.relay.look_elsewhere([queues.get("default")])
    assert store.recorder.problem == ""


async def test_a_durable_job_of_an_unknown_queue_is_reported(
    store: PostgresStore, engine: AsyncEngine, queues: Queues
) -> None:
    await lasts.enqueue()
    async with engine.begin() as connection:
        hour = text("now() - interval '1 hour'")
        await connection.execute(update(OutboxJob).values(queue="gone", published_at=hour))
    await store.relay.look_elsewhere([queues.get("default")])
    assert "'gone'" in store.recorder.problem


async def test_a_young_job_is_left_to_others(store: PostgresStore, engine: AsyncEngine, queues: Queues) -> None:
    async with nothing_published(), transaction(make_sessionmaker(engine)) as session:
        await greet.within(session).enqueue()
    async with engine.begin() as connection:
        await connection.execute(update(OutboxJob).values(queue="of another application"))
    await store.relay.look_elsewhere([queues.get("default")])
    assert store.recorder.problem == ""


async def test_a_job_of_a_queue_that_no_worker_serves_is_enqueued(
    store: PostgresStore, engine: AsyncEngine, queues: Queues
) -> None:
    key = await left_behind(engine, "other")
    await store.relay.look_elsewhere([queues.get("default")])
    assert await queues.get("other").fetch(key)
    assert store.recorder.problem == ""
