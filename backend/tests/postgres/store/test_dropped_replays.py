"""Replays of unique jobs at the same moment as another enqueue: what is dropped after the commit is refused."""

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import Context, DuplicateJob, Queues, Unique, get_registry, task
from saqueduct.postgres.dead_letters import DeadLetters, Resolved
from saqueduct.postgres.record_filter import DeadLetterFilter
from saqueduct.testing import JobKit
from tests.postgres.store.conftest import Look, record_of

ALL = DeadLetterFilter(all=True)

with get_registry().isolated():

    @task(unique=Unique(by=("user_id",)))
    async def rebuild(ctx: Context, *, user_id: int, full: bool = False) -> None:
        raise ValueError("broken")


@pytest.fixture(autouse=True)
def tasks(own_tasks: None) -> None:
    get_registry().add(rebuild)


@pytest.fixture
async def letter(jobs: JobKit, records: Look) -> str:
    """The key of a dead letter."""
    job = await rebuild.enqueue(user_id=1, full=True)
    await jobs.drain()
    await record_of(records, job.key, "failed")
    return job.key


async def test_a_replay_whose_job_exists_already_is_refused_and_the_dead_letter_waits(
    client: httpx.AsyncClient, letter: str
) -> None:
    other = await rebuild.enqueue(user_id=1)
    answer = await client.post(f"/dead-letters/{letter}/replay")
    assert (answer.status_code, answer.json()["code"]) == (409, "duplicate-job")
    assert other.key in answer.json()["detail"]
    waiting = (await client.get("/dead-letters")).json()["jobs"]
    assert [job["key"] for job in waiting] == [letter]
    # Nothing was done.
    assert (await client.get("/audit", params={"action": "replay"})).json()["entries"] == []


async def test_a_replay_of_many_that_was_dropped_at_the_last_moment_is_refused(
    client: httpx.AsyncClient, queues: Queues, letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await queues.enqueue("replay_dead_letters", {"which": ALL, "by": "program"})

    async def nothing(*_: object) -> None:
        """As if the other one had been enqueued after the look."""

    monkeypatch.setattr("saqueduct.postgres.changes.under_way", nothing)
    answer = await client.post("/dead-letters/replay", json={"all": True})
    assert (answer.status_code, answer.json()["code"]) == (409, "duplicate-job")
    assert other.key in answer.json()["detail"]
    assert (await client.get("/audit", params={"action": "replay"})).json()["entries"] == []


async def test_dropped_ones_of_many_are_counted_as_refused(session: AsyncSession, queues: Queues, letter: str) -> None:
    other = await rebuild.enqueue(user_id=1)
    letters, so_far = DeadLetters(session, queues, get_registry()), Resolved()
    assert await letters.replay_some(ALL, so_far, by="ada")
    await session.commit()
    await letters.confirm()
    assert so_far.done == 0
    assert list(so_far.refused) == [letter]
    assert other.key in so_far.refused[letter]
    assert await letters.count(ALL) == 1


async def test_the_audit_of_a_job_that_replays_many_does_not_count_dropped_ones(
    client: httpx.AsyncClient, jobs: JobKit, records: Look, letter: str
) -> None:
    second = await rebuild.enqueue(user_id=2)
    await jobs.drain()
    await record_of(records, second.key, "failed")
    # Only this one is in the way of another job.
    await rebuild.options(delay=3600).enqueue(user_id=1)
    job = await client.post("/dead-letters/replay", json={"all": True, "rate": 1000})
    assert job.status_code == 202, job.text
    await jobs.drain()
    [entry] = (await client.get("/audit", params={"action": "replay"})).json()["entries"]
    assert entry["count"] == 1
    found = {
        key: len((await client.get("/audit", params={"action": "replay", "target": key})).json()["entries"])
        for key in (letter, second.key)
    }
    assert found == {letter: 0, second.key: 1}


async def test_a_second_one_of_a_transaction_is_refused_in_it(
    session: AsyncSession, queues: Queues, letter: str
) -> None:
    await rebuild.within(session).enqueue(user_id=1)
    letters = DeadLetters(session, queues, get_registry())
    with pytest.raises(DuplicateJob):
        await letters.replay(letter, by="ada")
    await session.commit()
    assert await letters.count(ALL) == 1


async def test_a_replay_that_is_rolled_back_is_no_conflict(session: AsyncSession, queues: Queues, letter: str) -> None:
    letters = DeadLetters(session, queues, get_registry())
    await letters.replay(letter, by="ada")
    await session.rollback()
    await letters.confirm()
    assert await letters.count(ALL) == 1
