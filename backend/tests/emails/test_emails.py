"""Mails: written, sent, refused, recorded."""

import asyncio
import datetime as dt
import email.policy
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import pytest
from dishka import AsyncContainer
from saq.job import Status
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.emails.errors import InvalidMail, PermanentMailError, TemporaryMailError
from app.emails.mailers import FileMailer, make_mailer
from app.emails.models import EmailRecord, EmailStatus
from app.emails.service import EmailService
from app.emails.tasks import send_email
from app.settings import Settings, load_settings
from saqueduct import Queues
from saqueduct.testing import JobKit
from tests.emails.mails import MAIL
from tests.fixtures.poll import eventually
from tests.fixtures.smtp import SmtpServer


@pytest.fixture
def settings(environment: dict[str, str], request: pytest.FixtureRequest) -> Settings:
    """With an SMTP server where the test has one."""
    if "smtp" in request.fixturenames:
        port = request.getfixturevalue("smtp").port
        environment |= {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(port), "SMTP_SECURITY": "none", "SMTP_TIMEOUT": "20"}
    return load_settings(environment)


@pytest.fixture
async def service(container: AsyncContainer) -> EmailService:
    return await container.get(EmailService)


async def records(session: AsyncSession) -> list[EmailRecord]:
    return list((await session.scalars(select(EmailRecord).order_by(EmailRecord.id))).all())


async def test_the_task_sends_a_mail(smtp: SmtpServer, jobs: JobKit, session: AsyncSession) -> None:
    job = await jobs.run("send_email", **MAIL)
    assert (job.status, job.result) == (Status.COMPLETE, {"status": "sent", "to": "ada@example.com"})
    [mail] = smtp.mails
    assert (mail["To"], mail["Subject"]) == ("ada@example.com", "Grüße")
    assert mail["From"] == "Saqueduct <noreply@example.com>"
    assert mail["Date"]
    assert mail["Message-ID"]
    assert mail.get_content().splitlines()[:2] == ["Hello", "Ada"]
    [record] = await records(session)
    assert (record.status, record.recipient, record.attempts) == (EmailStatus.SENT, "ada@example.com", 1)
    assert record.sent_at is not None


@pytest.mark.parametrize("command", ["RCPT", "MAIL", "MAIL-DATA", "DATA"])
async def test_a_temporary_refusal_is_tried_again(
    smtp: SmtpServer, jobs: JobKit, session: AsyncSession, command: str
) -> None:
    smtp.answers[command] = "451 later"
    job = await jobs.run("send_email", **MAIL)
    assert (job.status, job.attempts, smtp.connections) == (Status.FAILED, 8, 8)
    [record] = await records(session)
    assert (record.status, record.attempts) == (EmailStatus.FAILED, 8)
    assert "451" in (record.error or "")


async def test_a_mail_goes_out_once_the_server_takes_it(
    smtp: SmtpServer, service: EmailService, session: AsyncSession
) -> None:
    smtp.answers["RCPT"] = "450 greylisted"
    with pytest.raises(TemporaryMailError):
        await service.send(**MAIL, key="one")
    del smtp.answers["RCPT"]
    await service.send(**MAIL, key="one")
    assert len(smtp.mails) == 1
    [record] = await records(session)
    assert (record.status, record.attempts, record.error) == (EmailStatus.SENT, 2, None)


@pytest.mark.parametrize("command", ["RCPT", "MAIL", "MAIL-DATA"])
async def test_a_lasting_refusal_is_not_tried_again(
    smtp: SmtpServer, jobs: JobKit, session: AsyncSession, command: str
) -> None:
    smtp.answers[command] = "550 no such user"
    job = await jobs.run("send_email", **MAIL)
    assert (job.status, job.attempts, smtp.connections) == (Status.FAILED, 1, 1)
    assert "no such user" in (job.error or "")
    assert (await records(session))[0].status is EmailStatus.FAILED


async def test_an_invalid_address_is_not_tried_again(smtp: SmtpServer, jobs: JobKit) -> None:
    job = await jobs.run("send_email", **(MAIL | {"to": "nobody"}))
    assert (job.status, job.attempts, smtp.connections) == (Status.FAILED, 1, 0)


async def test_a_key_is_sent_once_also_by_two_at_a_time(smtp: SmtpServer, service: EmailService) -> None:
    await asyncio.gather(*(service.send(**MAIL, key="same") for _ in range(5)))
    await service.send(**MAIL, key="same")
    assert len(smtp.mails) == 1
    await service.send(**MAIL, key="other")
    await service.send(**MAIL)
    await service.send(**MAIL)
    assert len(smtp.mails) == 4


async def test_a_job_sends_once_however_often_it_runs(
    smtp: SmtpServer, jobs: JobKit, queues: Queues, session: AsyncSession
) -> None:
    job = await jobs.run("send_email", **MAIL)
    await queues.retry(job.key)
    await jobs.drain()
    again = await queues.find(job.key)
    assert (again.status, again.completed > job.completed) == (Status.COMPLETE, True)
    assert len(smtp.mails) == 1


async def test_a_new_job_of_an_old_key_sends_anew(smtp: SmtpServer, jobs: JobKit, queues: Queues) -> None:
    for _ in range(2):
        await queues.enqueue("send_email", MAIL, key="daily" + "x" * 300)
        await jobs.drain()
    assert len(smtp.mails) == 2


@pytest.mark.parametrize("key", ["", "x" * 201])
async def test_an_unfit_key_is_refused(service: EmailService, key: str) -> None:
    with pytest.raises(InvalidMail, match=r"^key: "):
        await service.send(**MAIL, key=key)


async def test_without_smtp_each_mail_is_a_file(jobs: JobKit, settings: Settings, tmp_path: Path) -> None:
    assert isinstance(make_mailer(settings), FileMailer)
    assert (await jobs.run("send_email", **MAIL)).status is Status.COMPLETE
    [path] = (tmp_path / "mail").iterdir()
    assert path.suffix == ".eml"
    assert message_from_bytes(path.read_bytes(), policy=email.policy.default)["Subject"] == "Grüße"


async def test_a_mail_is_enqueued_over_http(client: httpx.AsyncClient, jobs: JobKit) -> None:
    answer = await client.post("/emails", json=MAIL)
    assert answer.status_code == 201
    job = jobs.assert_enqueued(send_email.options(key=answer.json()["job_id"]), **MAIL)
    assert answer.headers["location"] == f"/jobs/{job.key}"


@pytest.mark.parametrize(
    "body", [{}, MAIL | {"to": "nobody"}, MAIL | {"subject": "a\nb"}, MAIL | {"bcc": "x"}, MAIL | {"body": 1}]
)
async def test_bad_mails_are_refused_over_http(client: httpx.AsyncClient, jobs: JobKit, body: dict[str, Any]) -> None:
    assert (await client.post("/emails", json=body)).status_code == 400
    jobs.refute_enqueued()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_mails_are_the_admins(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/emails", headers={"X-Forwarded-For": "192.0.2.1"}, json=MAIL)
    assert answer.status_code == 401


async def test_mails_are_listed_newest_first_by_page(client: httpx.AsyncClient, service: EmailService) -> None:
    for number in range(3):
        await service.send(to="ada@example.com", subject=f"number {number}", body="")
    first = (await client.get("/emails", params={"limit": 2})).json()
    assert [item["subject"] for item in first["items"]] == ["number 2", "number 1"]
    second = (await client.get("/emails", params={"limit": 2, "before": first["next"]})).json()
    assert [item["subject"] for item in second["items"]] == ["number 0"]
    assert second["next"] is None
    assert (await client.get("/emails", params={"limit": 0})).status_code == 400


async def test_a_lasting_refusal_raises_permanent(smtp: SmtpServer, service: EmailService) -> None:
    smtp.answers["MAIL-DATA"] = "554 spam"
    with pytest.raises(PermanentMailError, match="554"):
        await service.send(**MAIL)


@pytest.mark.parametrize(("days_old", "left"), [(None, ["new", "month"]), (1, ["new"])])
async def test_records_of_old_mails_are_deleted(
    jobs: JobKit, service: EmailService, session: AsyncSession, days_old: int | None, left: list[str]
) -> None:
    for key, days in (("new", 0), ("month", 30), ("year", 365)):
        await service.send(key=key, **MAIL)
        age = {"updated_at": func.now() - dt.timedelta(days=days)}
        await session.execute(update(EmailRecord).where(EmailRecord.key == key).values(age))
    await session.commit()
    job = await jobs.run("cleanup_emails", **({} if days_old is None else {"days_old": days_old}))
    assert job.result == {"deleted_count": 3 - len(left)}
    assert list(await session.scalars(select(EmailRecord.key).order_by(EmailRecord.id))) == left


async def test_the_record_of_a_mail_that_is_sent_meanwhile_stays(
    service: EmailService, session: AsyncSession, engine: AsyncEngine
) -> None:
    await service.send(key="old", **MAIL)
    await session.execute(update(EmailRecord).values(updated_at=func.now() - dt.timedelta(days=365)))
    await session.commit()
    # As a job does that sends it again, and takes its time.
    await session.execute(update(EmailRecord).values(updated_at=func.now()))
    deleting = asyncio.create_task(service.delete_older_than(90))

    async def waits() -> bool:
        async with engine.connect() as connection:
            return bool(await connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))

    await eventually(waits)
    await session.commit()
    assert await deleting == 0
    assert await session.scalar(select(func.count()).select_from(EmailRecord)) == 1
