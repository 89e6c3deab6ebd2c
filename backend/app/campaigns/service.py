"""Rules of campaigns. Sending is in `sending.py`, the weekly report in `report.py`."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Sequence

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.campaigns.errors import CampaignNotDraft, CampaignNotFound, CampaignSent, NoRecipients
from app.campaigns.models import Campaign, CampaignStatus, Recipient, RecipientStatus
from app.emails.errors import InvalidMail
from app.emails.message import compose, valid_address

_ADD = text(
    "INSERT INTO campaign_recipients (campaign_id, email, status) "
    "SELECT :campaign_id, unnest(CAST(:emails AS text[])), 'pending' ON CONFLICT DO NOTHING RETURNING id"
)
# One array, not one parameter per row: the protocol allows 32,767 parameters.


@dataclasses.dataclass(frozen=True, slots=True)
class Invalid:
    """An address that cannot be used: its place in the list from 0, and why."""

    index: int
    email: str
    error: str


@dataclasses.dataclass(frozen=True, slots=True)
class Added:
    """The result for a list of addresses."""

    added: int
    duplicates: int
    invalid: list[Invalid]


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """Recipients of a campaign by status."""

    counts: dict[str, int]

    @property
    def total(self) -> int:
        """All recipients."""
        return sum(self.counts.values())

    @property
    def done(self) -> float:
        """The finished part of them, from 0.0 to 1.0."""
        waiting = self.counts[RecipientStatus.PENDING] + self.counts[RecipientStatus.SENDING]
        return round(1 - waiting / self.total, 4) if self.total else 0.0


class CampaignService:
    """Creates campaigns, adds recipients, starts campaigns, and reports their progress.

    Args:
        session: flushed, never committed.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def create(self, *, name: str, subject: str, body: str) -> Campaign:
        """A new draft.

        Raises:
            InvalidMail: subject and body do not make a valid mail.
        """
        compose(sender="a@example.com", to="b@example.com", subject=subject, body=body)
        campaign = Campaign(name=name, subject=subject, body=body, status=CampaignStatus.DRAFT)
        self._session.add(campaign)
        await self._session.flush()
        return campaign

    async def get(self, campaign_id: int) -> Campaign:
        """The campaign of that id.

        Raises:
            CampaignNotFound: there is none.
        """
        campaign = await self._session.get(Campaign, campaign_id)
        if campaign is None:
            raise CampaignNotFound(campaign_id)
        return campaign

    async def add_recipients(self, campaign_id: int, emails: Sequence[str]) -> Added:
        """Add the valid addresses that the campaign does not have yet.

        Raises:
            CampaignNotFound: there is no such campaign.
            CampaignNotDraft: it is being sent, or was.
        """
        # In a thread, and before the lock: ten thousand addresses take a fifth of a second or more.
        valid, invalid = await asyncio.to_thread(_sort_out, emails)
        campaign = await self._lock(campaign_id)
        if campaign.status is not CampaignStatus.DRAFT:
            raise CampaignNotDraft(campaign_id, campaign.status.value)
        unique = list(dict.fromkeys(valid))
        rows = await self._session.execute(_ADD, {"campaign_id": campaign_id, "emails": unique})
        added = len(rows.all())
        return Added(added, len(valid) - added, invalid)

    async def start(self, campaign_id: int) -> Campaign:
        """Mark a campaign as being sent; one that already is stays unchanged, so that a start can be repeated.

        Raises:
            CampaignNotFound: there is no such campaign.
            CampaignSent: it has been sent.
            NoRecipients: it has no recipients.
        """
        campaign = await self._lock(campaign_id)
        if campaign.status is CampaignStatus.SENT:
            raise CampaignSent(campaign_id)
        if campaign.status is CampaignStatus.DRAFT:
            if not (await self.progress(campaign_id)).total:
                raise NoRecipients(campaign_id)
            campaign.status, campaign.started_at = CampaignStatus.SENDING, dt.datetime.now(dt.UTC)
        return campaign

    async def unfinished(self, since: dt.timedelta) -> Sequence[int]:
        """Ids of the campaigns that were started within `since` and still have waiting recipients."""
        query = select(Campaign.id).where(
            Campaign.status == CampaignStatus.SENDING, Campaign.started_at > func.now() - since
        )
        return (await self._session.scalars(query.order_by(Campaign.id))).all()

    async def progress(self, campaign_id: int) -> Progress:
        """Its recipients by status."""
        query = select(Recipient.status, func.count()).where(Recipient.campaign_id == campaign_id)
        rows = await self._session.execute(query.group_by(Recipient.status))
        counts = {status.value: 0 for status in RecipientStatus}
        return Progress(counts | {status.value: count for status, count in rows})

    async def _lock(self, campaign_id: int) -> Campaign:
        campaign = await self._session.get(Campaign, campaign_id, with_for_update=True)
        if campaign is None:
            raise CampaignNotFound(campaign_id)
        return campaign


def _sort_out(emails: Sequence[str]) -> tuple[list[str], list[Invalid]]:
    valid, invalid = [], []
    for index, email in enumerate(emails):
        try:
            valid.append(valid_address(email).lower())
        except InvalidMail as error:
            invalid.append(Invalid(index, email[:320], error.detail))
    return valid, invalid
