"""Campaigns and their recipients."""

import datetime as dt
import enum

from sqlalchemy import Enum, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Identified, Timestamped


class CampaignStatus(enum.StrEnum):
    """draft -> sending -> sent. Recipients are added to a draft only."""

    DRAFT = "draft"
    SENDING = "sending"
    SENT = "sent"


class RecipientStatus(enum.StrEnum):
    """pending -> sending -> sent | failed | unknown.

    `sending` is committed before the mail goes out, so that no recipient gets two mails. `unknown`: the process ended
    between the commit and the mail; the mail may have gone out and is not sent again.
    """

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"


def _values(kind: type[enum.Enum]) -> list[str]:
    return [each.value for each in kind]


class Campaign(Identified, Timestamped, Base):
    """One mail to many recipients."""

    __tablename__ = "campaigns"

    name: Mapped[str] = mapped_column(String(200))
    subject: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[CampaignStatus] = mapped_column(
        Enum(CampaignStatus, native_enum=False, length=20, values_callable=_values), default=CampaignStatus.DRAFT
    )
    started_at: Mapped[dt.datetime | None] = mapped_column(index=True)
    finished_at: Mapped[dt.datetime | None]


class Recipient(Identified, Base):
    """One address of a campaign."""

    __tablename__ = "campaign_recipients"
    __table_args__ = (
        UniqueConstraint("campaign_id", "email"),
        Index(None, "campaign_id", "status", "id"),
    )

    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(String(320))
    status: Mapped[RecipientStatus] = mapped_column(
        Enum(RecipientStatus, native_enum=False, length=20, values_callable=_values), default=RecipientStatus.PENDING
    )
    error: Mapped[str | None] = mapped_column(Text)
