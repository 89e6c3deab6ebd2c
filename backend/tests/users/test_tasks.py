"""The users' tasks, run by a real worker."""

import datetime as dt
import email.policy
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from saq.job import Status
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.emails.errors import InvalidMail, PermanentMailError, TemporaryMailError
from app.emails.service import EmailService
from app.settings import Settings
from app.users.mails import WELCOME_SUBJECT
from app.users.models import User, UserSession, UserStatus
from app.users.service import UserService
from app.users.tasks import send_welcome_email, update_user_status
from saqueduct import InvalidArguments, Queues, get_registry
from saqueduct.testing import Drained, JobKit
from tests.users.accounts import PASSWORD, log_in, me, register


async def test_a_new_user_gets_one_welcome_mail(client: httpx.AsyncClient, jobs: JobKit, settings: Settings) -> None:
    user_id = await register(client)
    for _ in range(2):
        job = await jobs.run(send_welcome_email, user_id=user_id)
        assert (job.status, job.result) == (Status.COMPLETE, {"status": "sent"})
    (path,) = (Path(settings.app.dev_dir) / "mail").glob("*.eml")
    mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert (mail["To"], mail["Subject"]) == ("ada@example.com", WELCOME_SUBJECT)
    body = mail.get_content()
    assert "your account ada@example.com is ready" in body
    assert PASSWORD not in body


async def test_the_registration_itself_leads_to_the_mail(
    client: httpx.AsyncClient, jobs: JobKit, settings: Settings
) -> None:
    await register(client)
    assert await jobs.drain() == Drained(complete=1)
    assert len(list((Path(settings.app.dev_dir) / "mail").glob("*.eml"))) == 1


@pytest.mark.usefixtures("engine")
async def test_an_unknown_user_gets_no_welcome_and_no_retry(jobs: JobKit) -> None:
    job = await jobs.run(send_welcome_email, user_id=999)
    assert (job.status, job.attempts) == (Status.FAILED, 1)
    assert "there is no user 999" in (job.error or "")


@pytest.mark.parametrize("refusal", [PermanentMailError("550 no such mailbox"), InvalidMail("no address")])
async def test_a_mail_refused_for_good_is_not_tried_again(
    client: httpx.AsyncClient, jobs: JobKit, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    user_id = await register(client)
    monkeypatch.setattr(EmailService, "send", AsyncMock(side_effect=refusal))
    job = await jobs.run(send_welcome_email, user_id=user_id)
    assert (job.status, job.attempts) == (Status.FAILED, 1)
    assert "GiveUp" in (job.error or "")


async def test_a_mail_refused_for_now_is_tried_again(
    session: AsyncSession, jobs: JobKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await UserService(session).create("ada@example.com", "hash")
    await session.commit()
    monkeypatch.setattr(EmailService, "send", AsyncMock(side_effect=[TemporaryMailError("451 later"), None]))
    job = await jobs.run(send_welcome_email, user_id=user.id)
    assert (job.status, job.attempts, job.result) == (Status.COMPLETE, 2, {"status": "sent"})


@pytest.mark.parametrize(("status", "answer"), [("suspended", 401), ("inactive", 401), ("active", 200)])
async def test_the_status_is_updated(
    client: httpx.AsyncClient, jobs: JobKit, session: AsyncSession, status: str, answer: int
) -> None:
    user_id = await register(client)
    token = (await log_in(client))["access_token"]
    job = await jobs.run("update_user_status", user_id=user_id, status=status)
    assert (job.status, job.result) == (Status.COMPLETE, {"user_id": user_id, "status": status})
    assert (await session.get_one(User, user_id)).status == status
    assert (await me(client, token)).status_code == answer


@pytest.mark.usefixtures("engine")
async def test_the_status_of_an_unknown_user_is_a_failure_without_retry(jobs: JobKit) -> None:
    job = await jobs.run(update_user_status.options(retries=3), user_id=999, status=UserStatus.ACTIVE)
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


@pytest.mark.parametrize(("days_old", "deleted"), [(None, 1), (1, 2), (0, 2), (90, 0)])
async def test_stale_sessions_are_deleted(
    client: httpx.AsyncClient, jobs: JobKit, session: AsyncSession, days_old: int | None, deleted: int
) -> None:
    await register(client)
    live = (await log_in(client))["access_token"]
    for session_id, days in ((2, 2), (3, 31)):
        await log_in(client)
        expired = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
        await session.execute(update(UserSession).where(UserSession.id == session_id).values(expires_at=expired))
    await session.commit()
    job = await jobs.run("cleanup_sessions", **({} if days_old is None else {"days_old": days_old}))
    assert (job.status, job.result) == (Status.COMPLETE, {"deleted_count": deleted})
    assert (await me(client, live)).status_code == 200


async def test_sessions_of_tomorrow_cannot_be_cleaned_up(queues: Queues) -> None:
    with pytest.raises(InvalidArguments, match="days_old"):
        await queues.enqueue("cleanup_sessions", {"days_old": -1})


def test_sessions_are_cleaned_up_daily() -> None:
    schedule = get_registry().get("cleanup_sessions").schedule
    assert schedule is not None
    assert schedule.cron == "30 2 * * *"
