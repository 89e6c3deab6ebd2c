"""Transactions that write the same keys, or nothing new, and the order of what they write."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.db.session import SessionMaker, make_engine, make_sessionmaker, transaction
from app.settings import Settings, load_settings
from saqueduct import Context, JobHandle, Queues, enqueue_many, get_registry, task
from saqueduct.errors import EnqueueConflict
from saqueduct.postgres.store import PostgresStore
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, nothing_published

started: list[str] = []

with get_registry().isolated():

    @task
    async def greet(ctx: Context, *, name: str) -> None:
        started.append(name)


@pytest.fixture(autouse=True)
def greeting(own_tasks: None) -> None:
    started.clear()
    get_registry().add(greet)


@pytest.fixture
async def maker(request: pytest.FixtureRequest, environment: dict[str, str]) -> AsyncIterator[SessionMaker]:
    """Sessions that wait for a lock for longer than a test lasts, or for so many seconds."""
    seconds = getattr(request, "param", 600)
    engine = make_engine(load_settings({**environment, "DATABASE_LOCK_TIMEOUT": str(seconds)}))
    yield make_sessionmaker(engine)
    await engine.dispose()


async def write(session: AsyncSession, keys: Sequence[str]) -> list[JobHandle[None]]:
    return await enqueue_many(greet.options(key=key, session=session).bind(name=key) for key in keys)


async def test_a_transaction_whose_jobs_all_exist_already_commits_without_ado(
    session: AsyncSession, store: PostgresStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with nothing_published():
        await write(session, ["one"])
        await session.commit()
    [handle] = await write(session, ["one"])
    await session.commit()
    assert not handle.created
    await eventually(lambda: not store._sending)
    assert [record for record in caplog.records if record.exc_info] == []


async def test_jobs_of_other_queues_are_enqueued_though_those_of_one_all_exist_already(
    settings: Settings, environment: dict[str, str], engine: AsyncEngine, empty_redis: None
) -> None:
    from tests.fixtures.composition import build_queues

    queues = build_queues(load_settings({**environment, "QUEUE_NAMES": "default,other"}))
    assert isinstance(queues.store, PostgresStore)
    await queues.connect()
    try:
        async with nothing_published(), transaction(make_sessionmaker(engine)) as session:
            await write(session, ["one"])
        async with transaction(make_sessionmaker(engine)) as session:
            await write(session, ["one"])
            await greet.options(queue="other", key="two", session=session).enqueue(name="two")
        await eventually(lambda: queues.get("other").fetch("two"))
    finally:
        await queues.disconnect()


async def test_calls_with_the_same_keys_in_opposite_order_wait_for_each_other(
    maker: SessionMaker, outbox: Look
) -> None:
    keys = [f"{number:04}" for number in range(1200)]

    async def each(turned: list[str]) -> None:
        async with transaction(maker) as session:
            await write(session, turned)

    async with nothing_published():
        await asyncio.gather(*(each(turned) for turned in (keys, keys[::-1]) for _ in range(3)))
    assert len(await outbox()) == len(keys)


async def test_a_deadlock_of_several_calls_says_that_the_transaction_is_to_be_run_again(maker: SessionMaker) -> None:
    async with nothing_published(), maker() as one, maker() as other:
        await write(one, ["a"])
        await write(other, ["b"])
        answers = await asyncio.gather(write(one, ["b"]), write(other, ["a"]), return_exceptions=True)
        [conflict] = [answer for answer in answers if isinstance(answer, BaseException)]
        assert isinstance(conflict, EnqueueConflict)
        assert "run this transaction again" in str(conflict)
        await one.rollback()
        await other.rollback()


@pytest.mark.parametrize("maker", [1], indirect=True)
async def test_a_key_that_a_transaction_holds_for_long_is_a_conflict(maker: SessionMaker) -> None:
    async with nothing_published(), maker() as one, maker() as other:
        await write(one, ["a"])
        with pytest.raises(EnqueueConflict, match="not ended in time"):
            await write(other, ["a"])
        await one.rollback()
        await other.rollback()


async def test_jobs_of_a_transaction_start_in_the_order_of_their_calls(session: AsyncSession, jobs: JobKit) -> None:
    await write(session, ["z", "a", "m"])
    await write(session, ["y", "b"])
    await session.commit()
    await jobs.drain()
    assert started == ["z", "a", "m", "y", "b"]


async def test_what_the_relay_enqueues_keeps_its_order(
    session: AsyncSession, store: PostgresStore, queues: Queues, jobs: JobKit
) -> None:
    async with nothing_published():
        await write(session, ["z", "a", "m"])
        await write(session, ["y", "b"])
        await session.commit()
    await store.relay.look([queues.get("default")], grace=0)
    await jobs.drain()
    assert started == ["z", "a", "m", "y", "b"]
