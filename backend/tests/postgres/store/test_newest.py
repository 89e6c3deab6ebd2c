"""Unique(on_conflict="cancel") in a transaction, and for durable jobs."""

import pytest
from saq.job import Status
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import Context, EngineQueue, Unique, get_registry, task
from saqueduct.common import clock
from saqueduct.postgres.store import PostgresStore
from saqueduct.testing import Drained, JobKit
from tests.flow.hands import Hands, names
from tests.postgres.store.conftest import Look, nothing_published, record_of

with get_registry().isolated():

    @task(unique=Unique(by=("doc",), on_conflict="cancel"))
    async def render(ctx: Context, *, doc: int = 0, n: int) -> int:
        return n


kept = render.options(durable=True)


@pytest.fixture(autouse=True)
def rendering(own_tasks: None) -> None:
    get_registry().add(render)


@pytest.mark.parametrize("durable", [False, True])
async def test_the_running_job_is_aborted_after_the_commit(
    session: AsyncSession, default: EngineQueue, store: PostgresStore, outbox: Look, durable: bool
) -> None:
    hands, aborting = Hands(default), default.namespace("aborting")
    first = await kept.enqueue(n=1)
    [running] = await hands.all()
    async with nothing_published():
        second = await render.options(durable=durable, session=session).enqueue(n=2)
        assert await default.redis.exists(aborting) == 0
        await session.commit()
    # Its process has died, and the relay of a worker publishes the job.
    await store.relay.look([default], grace=0.0)
    assert await default.redis.hget(aborting, first.id) == f"replaced by {second.key}".encode()
    assert await hands.all() == []
    running.status = Status.ABORTED
    await hands.finish(running)
    assert names(await hands.all()) == [2]


async def test_a_waiting_durable_job_is_replaced_and_recorded(jobs: JobKit, records: Look, outbox: Look) -> None:
    first, second = await kept.enqueue(n=1), await kept.enqueue(n=2)
    assert (await record_of(records, first.key, "aborted")).error == f"replaced by {second.key}"
    assert [row.key for row in await outbox()] == [second.key]
    assert await jobs.drain() == Drained(complete=1)


async def test_a_job_that_redis_has_lost_does_not_cancel_a_newer_one(
    default: EngineQueue, store: PostgresStore, records: Look
) -> None:
    hands = Hands(default)
    old = await kept.enqueue(n=1)
    await store.publisher.flush(30)
    await default.redis.flushall()
    with clock.shifted(1):
        newer = await kept.enqueue(n=2)
        [running] = await hands.all()
        await store.relay.reconcile([default])
        assert await default.redis.exists(default.namespace("aborting")) == 0
        assert (await record_of(records, old.key, "aborted")).error == f"replaced by {newer.key}"
        await hands.finish(running)
        assert await hands.all() == []


async def test_one_that_comes_back_is_cancelled_by_a_newer_one(
    default: EngineQueue, store: PostgresStore, outbox: Look
) -> None:
    hands = Hands(default)
    old = await kept.enqueue(n=1)
    await store.publisher.flush(30)
    await default.redis.flushall()
    await store.relay.reconcile([default])
    [running] = await hands.all()
    assert running.key == old.key
    newer = await kept.enqueue(n=2)
    assert await default.redis.hget(default.namespace("aborting"), old.id) == f"replaced by {newer.key}".encode()
    assert await hands.all() == []
