"""The weekly report."""

import datetime as dt
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.campaigns.models import Campaign
from app.campaigns.report import WeeklyReport
from app.campaigns.sending import CampaignSending
from app.campaigns.tasks import weekly_report
from app.db.session import make_sessionmaker
from app.emails.errors import PermanentMailError
from app.emails.service import EmailService
from saqueduct import Context, GiveUp, get_registry
from saqueduct.testing import JobKit
from tests.campaigns.campaigns import Mailer, mails, started


async def test_the_weekly_report_tells_the_last_seven_days(
    session: AsyncSession, sending: CampaignSending, mailer: Mailer, jobs: JobKit, tmp_path: Path
) -> None:
    this_week = await started(session, 4)
    mailer.errors["r1@example.com"] = PermanentMailError("550")
    [chunk] = await sending.chunks(this_week)
    await sending.send(this_week, chunk)
    last_month = await started(session, 2)
    campaign = await session.get_one(Campaign, last_month)
    campaign.name, campaign.started_at = "Old", dt.datetime.now(dt.UTC) - dt.timedelta(days=8)
    await session.commit()
    job = await jobs.run(weekly_report)
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


async def test_the_week_is_that_of_the_schedules_time_zone(
    session: AsyncSession, engine: AsyncEngine, mailer: Mailer
) -> None:
    emails = EmailService(make_sessionmaker(engine), mailer, "a@example.com")
    report = WeeklyReport(session, emails, "r@example.com", ZoneInfo("Pacific/Auckland"))
    # Monday nine o'clock in Auckland, Sunday in UTC.
    await report.send(dt.datetime(2026, 3, 1, 20, tzinfo=dt.UTC))
    [record] = await emails.newest(1)
    assert record.subject == "Campaigns of week 10/2026: 0"


async def test_a_report_that_nobody_can_receive_is_not_tried_again(
    session: AsyncSession, engine: AsyncEngine, mailer: Mailer
) -> None:
    report = WeeklyReport(session, EmailService(make_sessionmaker(engine), mailer, "a@example.com"), "nobody")
    with pytest.raises(GiveUp, match="nobody"):
        await weekly_report(cast("Context", {}), report=report)
