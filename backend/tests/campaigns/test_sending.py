"""Each recipient gets at most one mail, in spite of any failure."""

import asyncio
import datetime as dt
from collections import Counter
from email.message import EmailMessage
from pathlib import Path

import pytest
from saq.job import Status
from sqlalchemy.ext.asyncio import AsyncSession

from app.campaigns.models import Campaign, CampaignStatus
from app.campaigns.sending import CampaignSending
from app.campaigns.service import CampaignService
from app.campaigns.tasks import resume_campaigns, send_campaign, send_campaign_chunk
from app.emails.errors import MailOutcomeUnknown, MailServerAway, PermanentMailError, TemporaryMailError
from app.emails.mailers import FileMailer
from saqueduct import get_registry
from saqueduct.testing import Drained, JobKit
from tests.campaigns.campaigns import TEXTS, Mailer, counts, mails, started
from tests.fixtures.poll import eventually


async def test_a_second_fan_out_enqueues_no_chunk_twice(session: AsyncSession, sending: CampaignSending) -> None:
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


async def test_refusals_are_distinguished(session: AsyncSession, sending: CampaignSending, mailer: Mailer) -> None:
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
    session: AsyncSession, jobs: JobKit, monkeypatch: pytest.MonkeyPatch, sending: CampaignSending
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
    job = await jobs.run(send_campaign_chunk, campaign_id=campaign_id, first=chunk.first, last=chunk.last)
    assert (job.status, job.attempts, job.result["sent"]) == (Status.COMPLETE, 2, 1)
    assert await counts(session, campaign_id) == {"sent": 3}


async def test_two_runs_of_a_chunk_at_once_send_each_mail_once(
    session: AsyncSession, sending: CampaignSending, mailer: Mailer
) -> None:
    campaign_id = await started(session, 10)
    [chunk] = await sending.chunks(campaign_id)
    await asyncio.gather(*(sending.send(campaign_id, chunk) for _ in range(3)))
    assert len(mailer.sent) == len(set(mailer.sent)) == 10


async def test_a_mail_whose_outcome_is_unknown_is_not_sent_again(
    session: AsyncSession, sending: CampaignSending, mailer: Mailer
) -> None:
    campaign_id = await started(session, 10)
    [chunk] = await sending.chunks(campaign_id)
    mailer.errors["r4@example.com"] = MailOutcomeUnknown("the connection ended")
    with pytest.raises(MailOutcomeUnknown):
        await sending.send(campaign_id, chunk)
    assert await counts(session, campaign_id) == {"sent": 4, "unknown": 1, "pending": 5}
    mailer.errors.clear()
    assert (await sending.send(campaign_id, chunk)).sent == 5
    assert await counts(session, campaign_id) == {"sent": 9, "unknown": 1}


async def test_a_chunk_ends_at_once_while_the_server_is_away(
    session: AsyncSession, sending: CampaignSending, mailer: Mailer
) -> None:
    campaign_id = await started(session, 10)
    [chunk] = await sending.chunks(campaign_id)
    mailer.errors = {f"r{number}@example.com": MailServerAway("no connection") for number in range(10)}
    with pytest.raises(MailServerAway):
        await sending.send(campaign_id, chunk)
    assert len(mailer.began) == 1
    assert await counts(session, campaign_id) == {"pending": 10}
    mailer.errors.clear()
    assert (await sending.send(campaign_id, chunk)).sent == 10


async def test_a_cancelled_job_lets_the_mail_on_its_way_arrive(
    session: AsyncSession, sending: CampaignSending, mailer: Mailer
) -> None:
    campaign_id = await started(session, 10)
    [chunk] = await sending.chunks(campaign_id)
    mailer.hold = asyncio.Event()
    job = asyncio.create_task(sending.send(campaign_id, chunk))
    await eventually(lambda: mailer.began)
    job.cancel()
    asyncio.get_running_loop().call_later(0.1, mailer.hold.set)
    with pytest.raises(asyncio.CancelledError):
        await job
    assert await counts(session, campaign_id) == {"sent": 1, "pending": 9}


async def test_a_draft_is_not_sent(
    session: AsyncSession, sending: CampaignSending, mailer: Mailer, jobs: JobKit, tmp_path: Path
) -> None:
    service = CampaignService(session)
    campaign = await service.create(**TEXTS)
    await service.add_recipients(campaign.id, ["a@example.com"])
    await session.commit()
    job = await jobs.run(send_campaign, campaign_id=campaign.id)
    assert (job.status, job.attempts) == (Status.FAILED, 1)
    assert "is a draft" in (job.error or "")
    await jobs.run(send_campaign_chunk, campaign_id=campaign.id, first=1, last=10)
    assert mails(tmp_path) == []
    assert await counts(session, campaign.id) == {"pending": 1}


async def test_an_unknown_campaign_is_not_tried_again(jobs: JobKit) -> None:
    job = await jobs.run(send_campaign, campaign_id=404)
    assert (job.status, job.attempts) == (Status.FAILED, 1)


async def test_a_campaign_whose_jobs_are_lost_is_taken_up_again(
    session: AsyncSession, jobs: JobKit, tmp_path: Path
) -> None:
    campaign_id = await started(session, 25)
    assert (await jobs.run(resume_campaigns)).result == {"campaigns": 1}
    assert await jobs.drain() == Drained(complete=4)
    assert await counts(session, campaign_id) == {"sent": 25}
    assert len(mails(tmp_path)) == 25
    assert (await jobs.run(resume_campaigns)).result == {"campaigns": 0}


async def test_a_campaign_of_last_week_is_not_taken_up_again(session: AsyncSession, jobs: JobKit) -> None:
    campaign = await session.get_one(Campaign, await started(session, 1))
    campaign.started_at = dt.datetime.now(dt.UTC) - dt.timedelta(days=3, minutes=1)
    await session.commit()
    assert (await jobs.run(resume_campaigns)).result == {"campaigns": 0}


def test_unfinished_campaigns_are_looked_for_every_quarter_of_an_hour() -> None:
    task = get_registry().get("resume_campaigns")
    assert task.schedule is not None
    assert task.schedule.cron == "*/15 * * * *"
