"""What tests of the store share: tasks of their own, an emptied database, and what the tables contain."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct import EngineQueue, Queues
from saqueduct.postgres.models import JobRecord, OutboxJob
from saqueduct.postgres.store import PostgresStore
from tests.fixtures.poll import eventually

Look = Callable[[], Awaitable[Sequence[Any]]]


@pytest.fixture(autouse=True)
def tables(engine: AsyncEngine, own_tasks: None, queues: Queues) -> None:
    """Each test begins with empty tables, and connected queues."""


@pytest.fixture
def store(queues: Queues) -> PostgresStore:
    assert isinstance(queues.store, PostgresStore)
    return queues.store


@pytest.fixture
def default(queues: Queues, store: PostgresStore) -> EngineQueue:
    """A queue with no job that is too young to be looked for in Redis."""
    store.relay._forgotten_after = 0.0
    return queues.get("default")


@pytest.fixture
def outbox(engine: AsyncEngine, store: PostgresStore) -> Look:
    """The rows of the outbox, oldest first, when it is noted in them which jobs Redis has."""

    async def look() -> Sequence[Any]:
        await store.publisher.flush(30)
        async with engine.connect() as connection:
            return (await connection.execute(select(OutboxJob.__table__).order_by(OutboxJob.created_at))).all()

    return look


@pytest.fixture
def records(engine: AsyncEngine) -> Look:
    """The job records, oldest first."""

    async def look() -> Sequence[Any]:
        async with engine.connect() as connection:
            return (await connection.execute(select(JobRecord.__table__).order_by(JobRecord.queued_at))).all()

    return look


async def record_of(look: Look, key: str, status: str) -> Any:
    """The record of a job, as soon as there is one of that status."""

    async def find() -> Any:
        return next((row for row in await look() if row.key == key and row.status == status), None)

    return await eventually(find)


@asynccontextmanager
async def nothing_published() -> AsyncIterator[None]:
    """A process that dies after its commits: what it was about to enqueue stays in the outbox."""
    with pytest.MonkeyPatch.context() as patch:
        # Of all stores: that of the application under test is another one than that of `queues`.
        patch.setattr(PostgresStore, "committed", lambda self, pending: pending.published.set_result(True))
        yield
