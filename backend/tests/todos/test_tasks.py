"""The task todo.cleanup, run by a real worker."""

import datetime as dt

import pytest
from saq.job import Status
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.deletion import BATCH_SIZE
from app.todos.models import Todo
from saqueduct import InvalidArguments, Queues
from saqueduct.testing import JobKit
from tests.todos.rows import add_old_todos, add_todo, add_user


@pytest.fixture
async def old_todos(session: AsyncSession) -> None:
    """Todos completed 8, 6 and 2 days ago, and one not completed."""
    user_id = await add_user(session)
    for days in (8, 6, 2):
        await add_todo(session, user_id, completed=dt.timedelta(days=days))
    await add_todo(session, user_id)
    await session.commit()


@pytest.mark.usefixtures("old_todos")
@pytest.mark.parametrize(("arguments", "deleted"), [({}, 1), ({"days": 7}, 1), ({"days": 3}, 2), ({"days": 30}, 0)])
async def test_completed_todos_are_deleted(
    jobs: JobKit, session: AsyncSession, arguments: dict[str, int], deleted: int
) -> None:
    job = await jobs.run("todo.cleanup", **arguments)
    assert (job.status, job.result) == (Status.COMPLETE, {"deleted_count": deleted})
    assert len((await session.scalars(select(Todo.id))).all()) == 4 - deleted


async def test_each_batch_is_committed(jobs: JobKit, session: AsyncSession, monkeypatch: pytest.MonkeyPatch) -> None:
    await add_old_todos(session, await add_user(session), BATCH_SIZE + 1)
    await session.commit()
    batches = 0
    commit = AsyncSession.commit

    async def fail_at_the_second(self: AsyncSession) -> None:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise RuntimeError("cut off")
        await commit(self)

    monkeypatch.setattr(AsyncSession, "commit", fail_at_the_second)
    job = await jobs.run("todo.cleanup", days=1)
    assert job.status is Status.FAILED
    assert len((await session.scalars(select(Todo.id))).all()) == 1


@pytest.mark.parametrize("days", [0, -1, "7", None, 1.5])
async def test_days_below_one_or_no_number_are_refused_at_the_call(queues: Queues, jobs: JobKit, days: object) -> None:
    with pytest.raises(InvalidArguments, match="days"):
        await queues.enqueue("todo.cleanup", {"days": days})
    jobs.refute_enqueued()


@pytest.mark.usefixtures("old_todos")
@pytest.mark.parametrize("day", [1, 2])
async def test_it_runs_daily_at_three_for_seven_days(jobs: JobKit, day: int) -> None:
    job = await jobs.run_tick("todo.cleanup", at=dt.datetime(2030, 1, day, 3, tzinfo=dt.UTC))
    assert (job.kwargs, job.result) == ({"days": 7}, {"deleted_count": 1})
