"""Replaying many dead letters."""

import datetime as dt
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.queue import Context, Queues, Unique, get_registry, task
from app.queue.memory import dead_letters
from app.queue.memory.dead_letters import DeadLetters, Resolved
from app.queue.memory.history import RecordFilter
from app.queue.memory.models import JobRecord
from app.queue.testing import JobKit
from tests.fixtures.poll import eventually
from tests.queue.memory.conftest import Look, record_of


def dead(key: str, queued_at: dt.datetime) -> JobRecord:
    return JobRecord(
        key=key, queued_at=queued_at, queue="default", task="my_task", status="failed", attempts=1,
        arguments={"user_id": 1},
    )  # fmt: skip


async def test_what_fails_again_meanwhile_is_not_replayed_in_the_same_run(
    session: AsyncSession, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "BATCH", 1)
    long_ago = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    session.add_all([dead(f"{number}", long_ago + dt.timedelta(seconds=number)) for number in range(3)])
    await session.commit()
    letters, so_far = DeadLetters(session, queues, get_registry()), Resolved()
    rounds = 0
    while await letters.replay_some(RecordFilter(), so_far, by="ada"):
        rounds += 1
        session.add(dead(f"again-{rounds}", dt.datetime.now(dt.UTC)))
        await session.commit()
        assert rounds <= 3
    assert (so_far.done, so_far.refused) == (3, {})
    assert await letters.count(RecordFilter()) == 3


@pytest.mark.parametrize("on_conflict", ["ignore", "raise"])
async def test_a_dead_letter_whose_replay_gives_way_to_a_job_that_stands_waits_again(
    session: AsyncSession, queues: Queues, jobs: JobKit, outbox: Look, records: Look, on_conflict: Any
) -> None:
    @task(unique=Unique(period=3600, states=("queued", "active", "failed"), on_conflict=on_conflict))
    async def bill(ctx: Context, *, customer: int) -> None:
        raise ValueError("no money")

    job = await bill.enqueue(customer=1)
    await jobs.drain()
    await record_of(records, job.key, "failed")
    letters = DeadLetters(session, queues, get_registry())
    await letters.replay(job.key, by="ada")
    await session.commit()

    async def published() -> bool:
        return not await outbox()

    await eventually(published)
    assert jobs.all_enqueued(bill) == []
    assert await letters.count(RecordFilter()) == 1
    [record] = await records()
    assert (record.resolution, record.resolved_by, record.replayed_as) == (None, None, None)
