"""Tasks that are run here and now."""

import asyncio
import datetime as dt
from typing import Any

import pytest
from saq.job import Status
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.queue.catalog import TasksRegistry
from app.users.models import User
from saqueduct import INJECTED, Context, Queues, Retry, task
from saqueduct.blocking import Entry
from saqueduct.testing import JobKit


async def test_apply_runs_here_with_injection_and_validation(
    registry: TasksRegistry, queues: Queues, jobs: JobKit
) -> None:
    @task
    async def look(ctx: Context, *, by: dt.timedelta, db_session: AsyncSession = INJECTED) -> dict[str, Any]:
        await ctx["job"].update(progress=0.5)
        one = (await db_session.execute(text("SELECT 1"))).scalar_one()
        return {"one": one, "seconds": by.total_seconds(), "status": ctx["job"].status, "key": ctx["job"].key}

    result = await asyncio.to_thread(registry["look"].apply, kwargs={"by": dt.timedelta(minutes=1)})
    assert result.get() == {"one": 1, "seconds": 60.0, "status": Status.ACTIVE, "key": result.id}
    assert (result.status, result.ready(), result.successful(), result.failed()) == ("SUCCESS", True, True, False)
    jobs.refute_enqueued()
    assert await queues.get("default").redis.keys("saq:job:*") == []


async def test_the_direct_call_returns_what_the_task_returns(registry: TasksRegistry) -> None:
    @task
    def due(ctx: Context, day: dt.date, *, plus: int = 0) -> dt.date:
        return day + dt.timedelta(days=plus)

    call: Any = registry["due"]
    assert await asyncio.to_thread(call, dt.date(2026, 5, 1), plus=2) == dt.date(2026, 5, 3)


async def test_apply_keeps_what_the_task_raises(registry: TasksRegistry) -> None:
    @task(retries=5)
    async def breaks(ctx: Context, *, again: bool = False) -> int:
        raise Retry(delay=5) if again else KeyError("gone")

    entry: Entry[..., Any] = registry["breaks"]
    result = await asyncio.to_thread(entry.apply)
    assert (result.status, result.failed(), repr(result.result)) == ("FAILURE", True, "KeyError('gone')")
    with pytest.raises(KeyError):
        result.get()
    assert isinstance(result.get(propagate=False), KeyError)
    with pytest.raises(KeyError):
        await asyncio.to_thread(entry.apply, throw=True)
    with pytest.raises(KeyError):
        await asyncio.to_thread(entry)
    assert (await asyncio.to_thread(entry.apply, kwargs={"again": True})).status == "RETRY"


async def test_a_failed_run_here_rolls_its_session_back(registry: TasksRegistry, session: AsyncSession) -> None:
    @task
    async def writes(ctx: Context, *, fails: bool, db_session: AsyncSession = INJECTED) -> None:
        db_session.add(User(email=f"{fails}@example.com", password_hash="x"))
        await db_session.flush()
        if fails:
            raise KeyError

    for fails in (True, False):
        result = await asyncio.to_thread(registry["writes"].apply, kwargs={"fails": fails})
        assert result.failed() is fails
    assert (await session.execute(text("SELECT email FROM users"))).scalars().all() == ["False@example.com"]
