"""Campaigns: recipients, fan-out, at most one mail each, and the weekly report."""

import asyncio
import datetime as dt
import email.policy
from collections import Counter
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from saq.job import Status
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.campaigns.errors import CampaignNotDraft, CampaignSent, NoRecipients
from app.campaigns.models import Campaign, CampaignStatus, Recipient
from app.campaigns.report import WeeklyReport
from app.campaigns.sending import CampaignSending
from app.campaigns.service import CampaignService
from app.db.session import make_sessionmaker
from app.emails.errors import PermanentMailError, TemporaryMailError
from app.emails.mailers import FileMailer
from app.emails.service import EmailService
from app.queue import Queues, get_registry
from app.settings import Settings, load_settings
from tests.conftest import RunTask

TEXTS = {"name": "Spring", "subject": "Spring is here", "body": "Come and see"}


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load_settings(environment | {"CAMPAIGNS_CHUNK_SIZE": "10"})


@pytest.fixture
def service(session: AsyncSession) -> CampaignService:
    return CampaignService(session)


async def started(session: AsyncSession, count: int) -> int:
    """A campaign with recipients, being sent."""
    service = CampaignService(session)
    campaign = await service.create(**TEXTS)
    await service.add_recipients(campaign.id, [f"r{number}@example.com" for number in range(count)])
    await service.start(campaign.id)
    await session.commit()
    return campaign.id


async def counts(session: AsyncSession, campaign_id: int) -> Counter[str]:
    await session.rollback()
    query = select(Recipient.status).where(Recipient.campaign_id == campaign_id)
    return Counter(status.value for status in (await session.scalars(query)).all())


class Mailer:
    """Takes mails, and raises what is laid out for an address."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.errors: dict[str, BaseException] = {}

    async def send(self, message: EmailMessage) -> None:
        if error := self.errors.get(str(message["To"])):
            raise error
        self.sent.append(str(message["To"]))


@pytest.fixture
def mailer() -> Mailer:
    return Mailer()


@pytest.fixture
def sending(engine: AsyncEngine, mailer: Mailer) -> CampaignSending:
    maker = make_sessionmaker(engine)
    return CampaignSending(maker, EmailService(maker, mailer, "a@example.com"), chunk_size=10)


def mails(directory: Path) -> list[EmailMessage]:
    paths = sorted((directory / "mail").glob("*.eml"))
    return [message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in paths]


async def test_a_campaign_is_sent_over_http_from_draft_to_sent(
    client: httpx.AsyncClient, run_task: RunTask, tmp_path: Path
) -> None:
    made = await client.post("/campaigns", json=TEXTS)
    location = made.headers["location"]
    assert (made.status_code, made.json()["status"]) == (201, "draft")
    addresses = [f"r{number}@example.com" for number in range(25)]
    added = await client.post(f"{location}/recipients", json={"emails": [*addresses, "R1@example.com", "nobody"]})
    assert added.status_code == 200
    assert (added.json()["added"], added.json()["duplicates"]) == (25, 1)
    [invalid] = added.json()["invalid"]
    assert (invalid["index"], invalid["email"]) == (26, "nobody")
    sent = await client.post(f"{location}/send")
    assert sent.status_code == 202
    assert sent.headers["location"] == f"/jobs/{sent.json()['job_id']}"
    for _ in range(3):
        await run_task("ping")
    view = (await client.get(location)).json()
    assert view["status"] == "sent"
    assert (view["progress"]["sent"], view["progress"]["total"], view["progress"]["done"]) == (25, 25, 1.0)
    assert view["started_at"] <= view["finished_at"]
    assert sorted(str(mail["To"]) for mail in mails(tmp_path)) == sorted(addresses)
    job = (await client.get(sent.headers["location"])).json()
    assert (job["progress"], job["result"]["chunks"]) == (1.0, 3)
    assert (await client.post(f"{location}/send")).status_code == 409


async def test_thousands_of_recipients_go_in_one_call(client: httpx.AsyncClient) -> None:
    location = (await client.post("/campaigns", json=TEXTS)).headers["location"]
    addresses = [f"r{number}@example.com" for number in range(10_000)]
    added = await client.post(f"{location}/recipients", json={"emails": addresses})
    assert added.json() == {"added": 10_000, "duplicates": 0, "invalid": []}
    assert (await client.get(location)).json()["progress"]["pending"] == 10_000
    too_many = await client.post(f"{location}/recipients", json={"emails": [*addresses, "x@example.com"]})
    assert too_many.status_code == 400


async def test_a_second_fan_out_enqueues_no_chunk_twice(
    session: AsyncSession, queues: Queues, run_task: RunTask, sending: CampaignSending
) -> None:
    campaign_id = await started(session, 25)
    chunks = await sending.chunks(campaign_id)
    assert len(chunks) == 3
    await sending.send(campaign_id, chunks[0])
    assert await sending.chunks(campaign_id) == chunks[1:]


async def test_running_a_chunk_again_sends_no_second_mail(
    session: AsyncSession, sending: CampaignSending, mailer: Mailer
) -> None:
    campaign_id = await started(session, 10)
    [chunk] = await sending.chunks(campaign_id)
    first = await sending.send(campaign_id, chunk)
    second = await sending.send(campaign_id, chunk)
    assert (first.sent, second.sent, len(mailer.sent)) == (10, 0, 10)


async def test_a_crash_while_sending_leaves_one_unknown_and_sends_no_second_mail(
    session: AsyncSession, sending: CampaignSending, mailer: Mailer
) -> None:
    campaign_id = await started(session, 10)
    [chunk] = await sending.chunks(campaign_id)
    mailer.errors["r4@example.com"] = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await sending.send(campaign_id, chunk)
    assert await counts(session, campaign_id) == {"sent": 4, "sending": 1, "pending": 5}
    mailer.errors.clear()
    result = await sending.send(campaign_id, chunk)
    assert (result.unknown, result.sent) == (1, 5)
    assert len(mailer.sent) == len(set(mailer.sent)) == 9
    campaign = await session.get_one(Campaign, campaign_id, populate_existing=True)
    assert campaign.status is CampaignStatus.SENT


async def test_refusals_are_told_apart(session: AsyncSession, sending: CampaignSending, mailer: Mailer) -> None:
    campaign_id = await started(session, 4)
    mailer.errors = {
        "r1@example.com": PermanentMailError("550 no such user"),
        "r2@example.com": TemporaryMailError("450 later"),
    }
    [chunk] = await sending.chunks(campaign_id)
    result = await sending.send(campaign_id, chunk)
    assert (result.sent, result.failed, result.delayed) == (2, 1, 1)
    assert await counts(session, campaign_id) == {"sent": 2, "failed": 1, "pending": 1}
    mailer.errors.clear()
    assert (await sending.send(campaign_id, chunk)).sent == 1
    assert Counter(mailer.sent)["r2@example.com"] == 1


async def test_a_chunk_with_delayed_recipients_is_tried_again(
    session: AsyncSession, run_task: RunTask, monkeypatch: pytest.MonkeyPatch, sending: CampaignSending
) -> None:
    campaign_id = await started(session, 3)
    [chunk] = await sending.chunks(campaign_id)
    refusals = iter([TemporaryMailError("450 later")])
    original = FileMailer.send

    async def once(self: FileMailer, message: EmailMessage) -> None:
        if error := next(refusals, None):
            raise error
        await original(self, message)

    monkeypatch.setattr(FileMailer, "send", once)
    task = get_registry().get("send_campaign_chunk")
    monkeypatch.setattr(task, "call_options", task.options(retry_delay=0, retry_backoff=False).call_options)
    job = await run_task("send_campaign_chunk", campaign_id=campaign_id, first=chunk.first, last=chunk.last)
    assert (job.status, job.attempts, job.result["sent"]) == (Status.COMPLETE, 2, 1)
    assert await counts(session, campaign_id) == {"sent": 3}


async def test_start_asks_for_recipients_and_can_be_repeated(service: CampaignService) -> None:
    campaign = await service.create(**TEXTS)
    with pytest.raises(NoRecipients):
        await service.start(campaign.id)
    await service.add_recipients(campaign.id, ["a@example.com"])
    first = (await service.start(campaign.id)).started_at
    assert (await service.start(campaign.id)).started_at == first
    with pytest.raises(CampaignNotDraft):
        await service.add_recipients(campaign.id, ["b@example.com"])
    campaign.status = CampaignStatus.SENT
    with pytest.raises(CampaignSent):
        await service.start(campaign.id)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/campaigns", {}, 400),
        ("/campaigns", TEXTS | {"subject": "a\nb"}, 400),
        ("/campaigns", TEXTS | {"name": ""}, 400),
        ("/campaigns", TEXTS | {"to": "x"}, 400),
        ("/campaigns/1/recipients", {"emails": []}, 400),
        ("/campaigns/1/recipients", {"emails": ["a@example.com"]}, 404),
        ("/campaigns/1/send", None, 404),
    ],
)
async def test_bad_requests_are_refused(client: httpx.AsyncClient, path: str, body: Any, status: int) -> None:
    assert (await client.post(path, json=body)).status_code == status


async def test_an_unknown_campaign_is_404(client: httpx.AsyncClient) -> None:
    answer = await client.get("/campaigns/1")
    assert (answer.status_code, answer.json()["code"]) == (404, "campaign-not-found")


async def test_the_weekly_report_tells_the_last_seven_days(
    session: AsyncSession, sending: CampaignSending, mailer: Mailer, run_task: RunTask, tmp_path: Path
) -> None:
    this_week = await started(session, 4)
    mailer.errors["r1@example.com"] = PermanentMailError("550")
    [chunk] = await sending.chunks(this_week)
    await sending.send(this_week, chunk)
    last_month = await started(session, 2)
    campaign = await session.get_one(Campaign, last_month)
    campaign.name, campaign.started_at = "Old", dt.datetime.now(dt.UTC) - dt.timedelta(days=8)
    await session.commit()
    job = await run_task("weekly_report")
    assert job.result == {"status": "sent", "campaigns": 1}
    [mail] = mails(tmp_path)
    assert mail["To"] == "reports@example.com"
    lines = mail.get_content().splitlines()
    assert next(line for line in lines if line.startswith("campaign")).split()[1:] == [
        "sent",
        "failed",
        "unknown",
        "pending",
    ]
    assert next(line for line in lines if line.startswith("Spring")).split()[1:] == ["3", "1", "0", "0"]
    assert next(line for line in lines if line.startswith("total")).split()[1:] == ["3", "1", "0", "0"]
    assert not any("Old" in line for line in lines)


async def test_the_report_is_mailed_once_a_week(session: AsyncSession, engine: AsyncEngine, mailer: Mailer) -> None:
    report = WeeklyReport(session, EmailService(make_sessionmaker(engine), mailer, "a@example.com"), "r@example.com")
    monday = dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC)
    await report.send(monday)
    await report.send(monday + dt.timedelta(days=1))
    assert len(mailer.sent) == 1
    await report.send(monday + dt.timedelta(days=7))
    assert len(mailer.sent) == 2


def test_the_report_is_due_on_mondays_at_nine() -> None:
    task = get_registry().get("weekly_report")
    assert task.schedule is not None
    assert (task.schedule.cron, task.defaults.timeout) == ("0 9 * * mon", 1800)
