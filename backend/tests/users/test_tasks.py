"""The users' tasks, run by a real worker."""

import datetime as dt
from typing import Any

import httpx
import pytest
from saq.job import Status
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.queue import InvalidArguments, Queues, get_registry
from app.users.models import User, UserSession
from tests.conftest import RunTask
from tests.users.accounts import log_in, me, register


@pytest.mark.parametrize(("status", "answer"), [("suspended", 401), ("inactive", 401), ("active", 200)])
async def test_the_status_is_updated(
    client: httpx.AsyncClient, run_task: RunTask, session: AsyncSession, status: str, answer: int
) -> None:
    user_id = await register(client)
    token = (await log_in(client))["access_token"]
    job = await run_task("update_user_status", user_id=user_id, status=status)
    assert (job.status, job.result) == (Status.COMPLETE, {"user_id": user_id, "status": status})
    assert (await session.get_one(User, user_id)).status == status
    assert (await me(client, token)).status_code == answer


async def test_the_status_of_an_unknown_user_is_a_failure_without_retry(run_task: RunTask) -> None:
    job = await run_task("update_user_status", user_id=999, status="active")
    assert (job.status, job.attempts) == (Status.FAILED, 1)
    assert "there is no user 999" in (job.error or "")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"user_id": 1, "status": "gone"}, "status"),
        ({"user_id": "one", "status": "active"}, "user_id"),
        ({"status": "active"}, "user_id"),
        ({"user_id": 1, "status": "active", "db_session": 1}, "db_session"),
    ],
)
async def test_bad_arguments_are_refused_at_the_call(queues: Queues, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArguments, match=named):
        await queues.enqueue("update_user_status", arguments)


@pytest.mark.parametrize(("days_old", "deleted"), [(None, 1), (1, 2), (90, 0)])
async def test_stale_sessions_are_deleted(
    client: httpx.AsyncClient, run_task: RunTask, session: AsyncSession, days_old: int | None, deleted: int
) -> None:
    await register(client)
    live = (await log_in(client))["access_token"]
    for session_id, days in ((2, 2), (3, 31)):
        await log_in(client)
        expired = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
        await session.execute(update(UserSession).where(UserSession.id == session_id).values(expires_at=expired))
    await session.commit()
    job = await run_task("cleanup_sessions", **({} if days_old is None else {"days_old": days_old}))
    assert (job.status, job.result) == (Status.COMPLETE, {"deleted_count": deleted})
    assert (await me(client, live)).status_code == 200


async def test_sessions_of_today_cannot_be_cleaned_up(queues: Queues) -> None:
    with pytest.raises(InvalidArguments, match="days_old"):
        await queues.enqueue("cleanup_sessions", {"days_old": 0})


def test_sessions_are_cleaned_up_daily() -> None:
    schedule = get_registry().get("cleanup_sessions").schedule
    assert schedule is not None
    assert schedule.cron == "30 2 * * *"
