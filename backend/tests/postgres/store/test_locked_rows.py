"""A row of the outbox that somebody holds, as a person with an open `SELECT ... FOR UPDATE` does, holds up no other."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from dishka import AsyncContainer
from saq.job import Status
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.settings import Settings
from saqueduct import INJECTED, Context, Queues, get_registry, task
from saqueduct.postgres.models import OutboxJob
from saqueduct.postgres.store import PostgresStore
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, nothing_published, record_of
from tests.queue.kit import status, working

with get_registry().isolated():

    @task(durable=True)
    async def lasts(ctx: Context) -> None: ...

    @task(durable=True)
    async def lasts_with_a_session(ctx: Context, *, db_session: AsyncSession = INJECTED) -> None:
        await db_session.execute(text("SELECT 1"))


@pytest.fixture(autouse=True)
def tasks(own_tasks: None) -> None:
    get_registry().add(lasts)
    get_registry().add(lasts_with_a_session)


@asynccontextmanager
async def held(engine: AsyncEngine, key: str) -> AsyncIterator[None]:
    """Somebody holds the outbox row of a job in this block."""
    async with engine.begin() as connection:
        found = await connection.execute(select(OutboxJob.key).where(OutboxJob.key == key).with_for_update())
        assert found.scalar_one() == key
        yield


async def test_ends_of_other_jobs_are_written_meanwhile_and_that_one_later(
    settings: Settings, queues: Queues, container: AsyncContainer, engine: AsyncEngine, outbox: Look, records: Look
) -> None:
    stuck, *others = [await lasts.enqueue() for _ in range(20)]
    async with held(engine, stuck.key), working(settings, queues, container, schedules=False):
        for handle in others:
            await record_of(records, handle.key, "complete")
        await status(queues, await queues.find(stuck.key), Status.COMPLETE)
        assert [row.key for row in await outbox()] == [stuck.key]
        further = await lasts.enqueue()
        await record_of(records, further.key, "complete")
        assert isinstance(queues.store, PostgresStore)
        assert queues.store.recorder.problem == ""
    async with working(settings, queues, container, schedules=False):
        await record_of(records, stuck.key, "complete")
    assert await outbox() == []


async def test_its_end_is_written_when_it_is_let_go(
    settings: Settings, queues: Queues, container: AsyncContainer, engine: AsyncEngine, outbox: Look, records: Look
) -> None:
    stuck = await lasts.enqueue()
    async with AsyncExitStack() as letting_go:
        await letting_go.enter_async_context(held(engine, stuck.key))
        async with working(settings, queues, container, schedules=False):
            await status(queues, await queues.find(stuck.key), Status.COMPLETE)
            await letting_go.aclose()
            await record_of(records, stuck.key, "complete")

            async def empty() -> bool:
                return not await outbox()

            await eventually(empty)


async def test_other_rows_are_published_meanwhile(
    queues: Queues, store: PostgresStore, engine: AsyncEngine, session: AsyncSession, outbox: Look
) -> None:
    async with nothing_published():
        stuck, other = [await lasts.options(durable=False, session=session).enqueue() for _ in range(2)]
        await session.commit()
    async with held(engine, stuck.key):
        assert await store.relay.look([queues.get("default")], grace=0) == 1
        assert [row.key for row in await outbox()] == [stuck.key]
    assert await queues.find(other.key)
    assert await store.relay.look([queues.get("default")], grace=0) == 1


async def test_one_whose_session_is_to_end_it_waits_and_is_tried_again(
    settings: Settings, queues: Queues, container: AsyncContainer, engine: AsyncEngine, records: Look
) -> None:
    stuck = await lasts_with_a_session.enqueue()
    async with AsyncExitStack() as letting_go:
        await letting_go.enter_async_context(held(engine, stuck.key))
        async with working(settings, queues, container, schedules=False):
            other = await lasts_with_a_session.enqueue()
            await record_of(records, other.key, "complete")
            await letting_go.aclose()
            job = await record_of(records, stuck.key, "complete")
    assert job.attempts == 1
