"""Sends a campaign: each recipient gets at most one mail.

A recipient is claimed, and the claim committed, before its mail goes out. If the process ends between the two, the
recipient stays claimed; the next run of its chunk marks it `unknown` and does not send. The same applies to a recipient
whose mail was handed over but not answered. The price of "at most one" is that such a recipient may have got none: to
be sure, ask the recipients that are `unknown`.
"""

import asyncio
import dataclasses
from collections.abc import Coroutine
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, exists, func, select, update

from app.campaigns.errors import CampaignNotFound, CampaignNotStarted
from app.campaigns.models import Campaign, CampaignStatus, Recipient, RecipientStatus
from app.db.session import SessionMaker, transaction
from app.emails.errors import InvalidMail, MailOutcomeUnknown, MailServerAway, PermanentMailError, TemporaryMailError
from app.emails.service import EmailService

T = TypeVar("T")

LAST_MAIL = 1.5
"""Seconds that a mail on its way gets when its job is cancelled; a stopping worker waits a little longer (2 s)."""

WAITING = (RecipientStatus.PENDING, RecipientStatus.SENDING)
"""Recipients whose outcome is not final."""


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """Recipients of one job: those with an id from `first` to `last`."""

    first: int
    last: int


@dataclasses.dataclass(slots=True)
class ChunkResult:
    """The result of a run over one chunk. `delayed`: not accepted by the mail server for now; they are pending
    again."""

    sent: int = 0
    failed: int = 0
    unknown: int = 0
    delayed: int = 0


class CampaignSending:
    """Divides a campaign into chunks, and sends them.

    Args:
        maker: makes sessions; each claim is a transaction of its own.
        emails: sends the mails.
        chunk_size: recipients of one job.
    """

    def __init__(self, maker: SessionMaker, emails: EmailService, chunk_size: int) -> None:
        self._maker = maker
        self._emails = emails
        self._chunk_size = chunk_size

    async def chunks(self, campaign_id: int) -> list[Chunk]:
        """The remaining recipients, in chunks.

        The division depends on all recipients and not on the remaining ones, so that a second fan-out makes the same
        chunks.

        Raises:
            CampaignNotFound: there is no such campaign.
            CampaignNotStarted: it is still a draft.
        """
        async with self._maker() as session:
            campaign = await session.get(Campaign, campaign_id)
            if campaign is None:
                raise CampaignNotFound(campaign_id)
            if campaign.status is CampaignStatus.DRAFT:
                raise CampaignNotStarted(campaign_id)
            place = func.row_number().over(order_by=Recipient.id) - 1
            numbered = (
                select(Recipient.id, Recipient.status, (place // self._chunk_size).label("chunk"))
                .where(Recipient.campaign_id == campaign_id)
                .subquery()
            )
            query = (
                select(func.min(numbered.c.id), func.max(numbered.c.id))
                .group_by(numbered.c.chunk)
                .having(func.bool_or(numbered.c.status.in_(WAITING)))
                .order_by(numbered.c.chunk)
            )
            return [Chunk(first, last) for first, last in await session.execute(query)]

    async def send(self, campaign_id: int, chunk: Chunk) -> ChunkResult:
        """Send to the recipients of a chunk that are pending, one after the other.

        One run at a time: the job's key ensures that.

        Raises:
            MailServerAway, MailOutcomeUnknown: the next mails would fail too; those recipients are still pending.
        """
        result = ChunkResult(unknown=await self._mark_unknown(campaign_id, chunk))
        last = chunk.first - 1
        while (sent := await _uncut(self._next(campaign_id, Chunk(last + 1, chunk.last)))) is not None:
            last, status = sent
            result.sent += status is RecipientStatus.SENT
            result.failed += status is RecipientStatus.FAILED
            result.delayed += status is RecipientStatus.PENDING
        await self.finish(campaign_id)
        return result

    async def _next(self, campaign_id: int, chunk: Chunk) -> tuple[int, RecipientStatus] | None:
        """Claim and mail the first pending recipient; returns its id and its new status, or None if there is none."""
        claimed = await self._claim(campaign_id, chunk)
        if claimed is None:
            return None
        campaign, recipient = claimed
        try:
            status, error = await self._mail(campaign, recipient)
        except MailServerAway as away:
            await self._write(recipient.id, RecipientStatus.PENDING, str(away))
            raise
        except MailOutcomeUnknown as unknown:
            await self._write(recipient.id, RecipientStatus.UNKNOWN, str(unknown))
            raise
        await self._write(recipient.id, status, error)
        return recipient.id, status

    async def _mail(self, campaign: Campaign, recipient: Recipient) -> tuple[RecipientStatus, str | None]:
        key = f"campaign:{campaign.id}:{recipient.id}"
        try:
            await self._emails.send(to=recipient.email, subject=campaign.subject, body=campaign.body, key=key)
        except (MailServerAway, MailOutcomeUnknown):
            raise
        except TemporaryMailError as error:
            return RecipientStatus.PENDING, str(error)
        except (InvalidMail, PermanentMailError) as error:
            return RecipientStatus.FAILED, str(error)
        return RecipientStatus.SENT, None

    async def _claim(self, campaign_id: int, chunk: Chunk) -> tuple[Campaign, Recipient] | None:
        query = (
            select(Campaign, Recipient)
            .join(Recipient, Recipient.campaign_id == Campaign.id)
            .where(_in_chunk(campaign_id, chunk, RecipientStatus.PENDING), Campaign.status == CampaignStatus.SENDING)
            .order_by(Recipient.id)
            .limit(1)
            .with_for_update(of=Recipient, skip_locked=True)
        )
        async with transaction(self._maker) as session:
            row = (await session.execute(query)).first()
            if row is not None:
                row[1].status = RecipientStatus.SENDING
            return row

    async def _mark_unknown(self, campaign_id: int, chunk: Chunk) -> int:
        statement = update(Recipient).where(_in_chunk(campaign_id, chunk, RecipientStatus.SENDING))
        async with transaction(self._maker) as session:
            rows = await session.execute(statement.values(status=RecipientStatus.UNKNOWN).returning(Recipient.id))
            return len(rows.all())

    async def _write(self, recipient_id: int, status: RecipientStatus, error: str | None) -> None:
        async with transaction(self._maker) as session:
            await session.execute(
                update(Recipient).where(Recipient.id == recipient_id).values(status=status, error=error)
            )

    async def finish(self, campaign_id: int) -> None:
        """Mark a campaign as sent when no recipient waits any longer."""
        left = exists().where(Recipient.campaign_id == campaign_id, Recipient.status.in_(WAITING))
        statement = update(Campaign).where(Campaign.id == campaign_id, Campaign.status == CampaignStatus.SENDING, ~left)
        async with transaction(self._maker) as session:
            await session.execute(statement.values(status=CampaignStatus.SENT, finished_at=func.now()))


def _in_chunk(campaign_id: int, chunk: Chunk, status: RecipientStatus) -> ColumnElement[bool]:
    return and_(
        Recipient.campaign_id == campaign_id,
        Recipient.status == status,
        Recipient.id.between(chunk.first, chunk.last),
    )


async def _uncut(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, even if the job is cancelled meanwhile: an interrupted mail leaves an unknown recipient.

    Raises:
        CancelledError: the job was cancelled; the work has ended by then, or LAST_MAIL is over.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running], timeout=LAST_MAIL)
        if not running.cancel() and not running.cancelled():
            running.exception()  # already seen: the cancellation says enough
        raise
