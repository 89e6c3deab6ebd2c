"""Jobs of a transaction that another job makes superfluous: found in the transaction where that is possible, and
otherwise after the commit; the handle says so."""

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import Context, DuplicateJob, Unique, enqueue_many, get_registry, task
from saqueduct.testing import JobKit
from tests.postgres.store.conftest import Look

with get_registry().isolated():

    @task
    async def greet(ctx: Context, *, name: str) -> str:
        return f"Hello {name}"


@pytest.fixture(autouse=True)
def tasks(own_tasks: None) -> None:
    get_registry().add(greet)


once = greet.options(unique=Unique())
strictly_once = greet.options(unique=Unique(on_conflict="raise"))


async def test_of_two_unique_jobs_of_a_transaction_the_first_is_enqueued(session: AsyncSession, jobs: JobKit) -> None:
    first = await once.within(session).enqueue(name="ada")
    second = await once.within(session).enqueue(name="ada")
    other = await once.within(session).enqueue(name="bob")
    assert (second.created, second.key) == (False, first.key)
    assert (first.created, other.created) == (True, True)
    await session.commit()
    assert await first.enqueued()
    assert await other.enqueued()
    assert not await second.enqueued()
    assert {job.key for job in jobs.all_enqueued(greet)} == {first.key, other.key}


async def test_of_many_unique_jobs_of_one_call_the_first_is_enqueued(session: AsyncSession, outbox: Look) -> None:
    handles = await enqueue_many(once.within(session).bind(name=name) for name in ("ada", "bob", "ada", "ada"))
    assert [handle.created for handle in handles] == [True, True, False, False]
    assert handles[2].key == handles[3].key == handles[0].key
    await session.commit()
    assert await handles[0].enqueued()


async def test_a_second_one_raises_in_the_transaction_if_it_asks_for_that(session: AsyncSession, jobs: JobKit) -> None:
    first = await strictly_once.within(session).enqueue(name="ada")
    with pytest.raises(DuplicateJob) as raised:
        await strictly_once.within(session).enqueue(name="ada")
    assert raised.value.existing == first.key
    await session.commit()
    assert await first.enqueued()
    assert [job.key for job in jobs.all_enqueued(greet)] == [first.key]


async def test_one_whose_savepoint_was_rolled_back_keeps_no_other_out(session: AsyncSession, jobs: JobKit) -> None:
    savepoint = await session.begin_nested()
    await once.within(session).enqueue(name="ada")
    await savepoint.rollback()
    second = await once.within(session).enqueue(name="ada")
    assert second.created
    await session.commit()
    assert await second.enqueued()
    assert [job.key for job in jobs.all_enqueued(greet)] == [second.key]


async def test_nor_does_one_of_an_earlier_transaction_that_was_rolled_back(session: AsyncSession) -> None:
    await once.within(session).enqueue(name="ada")
    await session.rollback()
    second = await once.within(session).enqueue(name="ada")
    assert second.created
    await session.commit()
    assert await second.enqueued()


async def test_one_that_replaces_others_is_written_too(session: AsyncSession, jobs: JobKit) -> None:
    latest = greet.options(unique=Unique(on_conflict="replace"))
    first = await latest.within(session).enqueue(name="ada")
    second = await latest.within(session).enqueue(name="ada")
    assert (first.created, second.created) == (True, True)
    await session.commit()
    assert await second.enqueued()
    assert [job.key for job in jobs.all_enqueued(greet)] == [second.key]


async def test_after_the_commit_the_handle_follows_the_job_that_existed(session: AsyncSession, jobs: JobKit) -> None:
    existing = await once.enqueue(name="ada")
    job = await once.within(session).enqueue(name="ada")
    assert job.created
    await session.commit()
    assert not await job.enqueued()
    assert (job.created, job.key) == (False, existing.key)
    await jobs.drain()
    assert await job.result(timeout=60) == "Hello ada"


async def test_so_it_does_for_a_chosen_key(session: AsyncSession, jobs: JobKit) -> None:
    existing = await greet.options(key="hello").enqueue(name="ada")
    job = await greet.options(key="hello").within(session).enqueue(name="bob")
    await session.commit()
    assert not await job.enqueued()
    assert (job.created, job.key) == (False, existing.key)
    await jobs.drain()
    assert await job.result(timeout=60) == "Hello ada"


async def test_a_handle_of_a_transaction_that_is_rolled_back_was_not_enqueued(session: AsyncSession) -> None:
    job = await once.within(session).enqueue(name="ada")
    await session.rollback()
    assert not await job.enqueued()


async def test_a_handle_without_a_transaction_is_enqueued_at_once() -> None:
    job = await once.enqueue(name="ada")
    assert await job.enqueued()
    assert not await (await once.enqueue(name="ada")).enqueued()
