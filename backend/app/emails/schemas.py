"""Mails over HTTP."""

import datetime as dt

import msgspec

from app.emails.models import EmailRecord


class NewEmail(msgspec.Struct, forbid_unknown_fields=True):
    """A mail to send."""

    to: str
    subject: str
    body: str


class EmailView(msgspec.Struct):
    """A mail on record."""

    id: int
    to: str
    subject: str
    status: str
    attempts: int
    error: str | None
    message_id: str
    created_at: dt.datetime
    sent_at: dt.datetime | None

    @classmethod
    def of(cls, record: EmailRecord) -> "EmailView":
        return cls(
            id=record.id,
            to=record.recipient,
            subject=record.subject,
            status=record.status.value,
            attempts=record.attempts,
            error=record.error,
            message_id=record.message_id,
            created_at=record.created_at,
            sent_at=record.sent_at,
        )


class EmailPage(msgspec.Struct):
    """Mails on record, newest first; `next` for `?before=`, or null at the end."""

    items: list[EmailView]
    next: int | None
