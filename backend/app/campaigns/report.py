"""The weekly report: the results of the campaigns of the last seven days."""

import datetime as dt

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.campaigns.models import Campaign, Recipient, RecipientStatus
from app.emails.service import EmailService

PERIOD = dt.timedelta(days=7)

COLUMNS = (RecipientStatus.SENT, RecipientStatus.FAILED, RecipientStatus.UNKNOWN, RecipientStatus.PENDING)


class WeeklyReport:
    """Writes the report and mails it.

    Args:
        session: reads the campaigns.
        emails: sends the report.
        recipient: address that gets it.
        zone: time zone that decides which week it is; that of the schedules.
    """

    def __init__(self, session: AsyncSession, emails: EmailService, recipient: str, zone: dt.tzinfo = dt.UTC) -> None:
        self._session = session
        self._emails = emails
        self._recipient = recipient
        self._zone = zone

    async def send(self, now: dt.datetime) -> int:
        """Mail the report of the seven days before `now`, once per calendar week; returns how many campaigns it lists.

        Raises:
            InvalidMail, TemporaryMailError, PermanentMailError: see `EmailService.send`.
        """
        now = now.astimezone(self._zone)
        campaigns = await self._campaigns(now)
        year, week, _ = now.isocalendar()
        await self._emails.send(
            to=self._recipient,
            subject=f"Campaigns of week {week}/{year}: {len(campaigns)}",
            body=_table(campaigns, now),
            key=f"weekly-report:{year}-W{week:02}",
        )
        return len(campaigns)

    async def _campaigns(self, now: dt.datetime) -> list[tuple[str, dict[str, int]]]:
        """Name and recipients by status of each campaign started in the period, the earliest first."""
        query = (
            select(Campaign.id, Campaign.name, Recipient.status, func.count())
            .join(Recipient, Recipient.campaign_id == Campaign.id)
            .where(Campaign.started_at >= now - PERIOD, Campaign.started_at < now)
            .group_by(Campaign.id, Campaign.name, Recipient.status)
            .order_by(Campaign.started_at, Campaign.id)
        )
        found: dict[int, tuple[str, dict[str, int]]] = {}
        for campaign_id, name, status, count in await self._session.execute(query):
            found.setdefault(campaign_id, (name, {}))[1][status] = count
        return list(found.values())


def _table(campaigns: list[tuple[str, dict[str, int]]], now: dt.datetime) -> str:
    lines = [f"Campaigns started from {now - PERIOD:%Y-%m-%d} to {now:%Y-%m-%d}", ""]
    if not campaigns:
        return "\n".join([*lines, "None was started.", ""])
    lines.append(f"{'campaign':<40}" + "".join(f"{column.value:>10}" for column in COLUMNS))
    lines += [_line(name, counts) for name, counts in campaigns]
    totals = {column: sum(counts.get(column, 0) for _, counts in campaigns) for column in COLUMNS}
    return "\n".join([*lines, _line("total", {status.value: count for status, count in totals.items()}), ""])


def _line(name: str, counts: dict[str, int]) -> str:
    return f"{name[:39]:<40}" + "".join(f"{counts.get(column, 0):>10}" for column in COLUMNS)
