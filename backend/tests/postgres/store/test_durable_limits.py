"""Jobs with limits that PostgreSQL keeps, or that a transaction writes."""

from collections.abc import Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import Concurrency, Context, EngineQueue, TaskRegistry, get_registry, task
from saqueduct.postgres.store import PostgresStore
from saqueduct.testing import JobKit
from tests.flow.hands import Hands, names

pytestmark = pytest.mark.usefixtures("registry")


@pytest.fixture
def registry() -> Iterator[TaskRegistry]:
    with get_registry().isolated() as registry:
        yield registry


async def test_durable_jobs_come_back_with_their_limits(default: EngineQueue, store: PostgresStore) -> None:
    @task(limits=(Concurrency(1),), durable=True)
    async def work(ctx: Context, *, n: int) -> None: ...

    for n in range(2):
        await work.enqueue(n=n)
    await store.publisher.flush(30)
    assert len(await Hands(default).all()) == 1
    await default.redis.flushall()
    await store.relay.reconcile([default])
    hands = Hands(default)
    [first] = await hands.all()
    await hands.finish(first)
    assert sorted(names([first, *await hands.all()])) == [0, 1]


async def test_a_job_of_a_transaction_has_its_limits(
    default: EngineQueue, session: AsyncSession, store: PostgresStore, jobs: JobKit
) -> None:
    @task(limits=(Concurrency(1),))
    async def work(ctx: Context, *, n: int) -> None: ...

    for n in range(2):
        await work.within(session).enqueue(n=n)
    await session.commit()
    await store.publisher.flush(30)
    await store.relay.reconcile([default])
    assert len(await Hands(default).all()) == 1
