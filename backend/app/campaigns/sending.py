"""Sends a campaign: each recipient gets at most one mail.

A recipient is claimed, and the claim committed, before its mail goes out. If the process ends between the two, the
recipient stays claimed; the next run of its chunk marks it `unknown` and does not send. The price of "at most one" is
that such a recipient may have got none: whoever wants to be sure reads the list of the unknown.
"""

import dataclasses

from sqlalchemy import ColumnElement, and_, exists, func, select, update

from app.campaigns.models import Campaign, CampaignStatus, Recipient, RecipientStatus
from app.db.session import SessionMaker, transaction
from app.emails.errors import InvalidMail, PermanentMailError, TemporaryMailError
from app.emails.service import EmailService


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """Recipients of one job: those with an id from `first` to `last`."""

    first: int
    last: int


@dataclasses.dataclass(slots=True)
class ChunkResult:
    """What a run over one chunk came to. `delayed`: not taken by the mail server for now; they are pending again."""

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
        """The recipients that are left, in chunks.

        The division depends on all recipients and not on what is left, so that a second fan-out makes the same chunks.
        """
        query = select(Recipient.id, Recipient.status).where(Recipient.campaign_id == campaign_id)
        async with self._maker() as session:
            rows = (await session.execute(query.order_by(Recipient.id))).all()
        divided = (rows[start : start + self._chunk_size] for start in range(0, len(rows), self._chunk_size))
        open_ = (RecipientStatus.PENDING, RecipientStatus.SENDING)
        return [Chunk(part[0][0], part[-1][0]) for part in divided if any(status in open_ for _, status in part)]

    async def send(self, campaign_id: int, chunk: Chunk) -> ChunkResult:
        """Send to the recipients of a chunk that are pending, one after the other.

        One run at a time: the job's key sees to that.
        """
        result = ChunkResult(unknown=await self._mark_unknown(campaign_id, chunk))
        last = chunk.first - 1
        while (claimed := await self._claim(campaign_id, Chunk(last + 1, chunk.last))) is not None:
            campaign, recipient = claimed
            last = recipient.id
            status, error = await self._mail(campaign, recipient)
            await self._write(recipient.id, status, error)
            result.sent += status is RecipientStatus.SENT
            result.failed += status is RecipientStatus.FAILED
            result.delayed += status is RecipientStatus.PENDING
        await self.finish(campaign_id)
        return result

    async def _mail(self, campaign: Campaign, recipient: Recipient) -> tuple[RecipientStatus, str | None]:
        key = f"campaign:{campaign.id}:{recipient.id}"
        try:
            await self._emails.send(to=recipient.email, subject=campaign.subject, body=campaign.body, key=key)
        except TemporaryMailError as error:
            return RecipientStatus.PENDING, str(error)
        except (InvalidMail, PermanentMailError) as error:
            return RecipientStatus.FAILED, str(error)
        return RecipientStatus.SENT, None

    async def _claim(self, campaign_id: int, chunk: Chunk) -> tuple[Campaign, Recipient] | None:
        query = (
            select(Campaign, Recipient)
            .join(Recipient, Recipient.campaign_id == Campaign.id)
            .where(_in_chunk(campaign_id, chunk, RecipientStatus.PENDING))
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
        """Mark a campaign as sent when nobody waits any more."""
        waiting = (RecipientStatus.PENDING, RecipientStatus.SENDING)
        left = exists().where(Recipient.campaign_id == campaign_id, Recipient.status.in_(waiting))
        statement = update(Campaign).where(Campaign.id == campaign_id, Campaign.status == CampaignStatus.SENDING, ~left)
        async with transaction(self._maker) as session:
            await session.execute(statement.values(status=CampaignStatus.SENT, finished_at=func.now()))


def _in_chunk(campaign_id: int, chunk: Chunk, status: RecipientStatus) -> ColumnElement[bool]:
    return and_(
        Recipient.campaign_id == campaign_id,
        Recipient.status == status,
        Recipient.id.between(chunk.first, chunk.last),
    )
