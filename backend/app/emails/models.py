"""The record of every mail."""

import datetime as dt
import enum

from sqlalchemy import Enum, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Identified, Timestamped

MAX_KEY = 200
"""Characters of a mail's key."""


class EmailStatus(enum.StrEnum):
    """The status of a mail."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


class EmailRecord(Identified, Timestamped, Base):
    """One mail: recipient, subject and status. The body is not kept."""

    __tablename__ = "emails"
    __table_args__ = (Index(None, "updated_at"),)

    key: Mapped[str | None] = mapped_column(String(MAX_KEY), unique=True)
    """What makes two sends the same mail; a key that was sent is not sent again."""
    recipient: Mapped[str] = mapped_column(String(320))
    subject: Mapped[str] = mapped_column(String(200))
    status: Mapped[EmailStatus] = mapped_column(
        Enum(EmailStatus, native_enum=False, length=20, values_callable=lambda kind: [each.value for each in kind]),
        default=EmailStatus.PENDING,
    )
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)
    message_id: Mapped[str] = mapped_column(String(200))
    sent_at: Mapped[dt.datetime | None]
