"""Rules of mails: each is recorded, and a key that was sent is not sent again."""

import datetime as dt
from email.message import EmailMessage

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.deletion import delete_in_batches
from app.db.session import SessionMaker, transaction
from app.emails.errors import InvalidMail, MailError
from app.emails.mailers import Mailer
from app.emails.message import compose
from app.emails.models import MAX_KEY, EmailRecord, EmailStatus


class EmailService:
    """Sends mails and records them.

    Sending has its own transaction: a sent mail is recorded even if the caller's transaction is rolled back. A
    process that dies after the server took the mail and before that commit, usually milliseconds, sends it again: SMTP
    knows no exactly-once. The Message-ID is then the same.

    Args:
        maker: makes the sessions.
        mailer: delivers the mails.
        sender: From address.
    """

    def __init__(self, maker: SessionMaker, mailer: Mailer, sender: str) -> None:
        self._maker = maker
        self._mailer = mailer
        self._sender = sender

    async def send(self, *, to: str, subject: str, body: str, key: str | None = None) -> None:
        """Send a mail, unless its key was sent before.

        Args:
            to: one address.
            subject: one line, at most 200 characters.
            body: text.
            key: what makes two sends the same mail; at most MAX_KEY characters.

        Raises:
            InvalidMail: it cannot be written.
            TemporaryMailError: it was not taken, and may be later.
            PermanentMailError: it was refused for good.
        """
        if key is not None and not 0 < len(key) <= MAX_KEY:
            raise InvalidMail(f"key: 1 to {MAX_KEY} characters, not {len(key)}")
        message = compose(sender=self._sender, to=to, subject=subject, body=body, key=key)
        failure: MailError | None = None
        async with transaction(self._maker) as session:
            # Locked until the end: a second run of the same job waits here, and then finds the mail sent.
            record = await _claim(session, message, key)
            if record.status is EmailStatus.SENT:
                return
            record.attempts += 1
            try:
                await self._mailer.send(message)
                record.status, record.error, record.sent_at = EmailStatus.SENT, None, dt.datetime.now(dt.UTC)
            except MailError as error:
                record.status, record.error = EmailStatus.FAILED, str(error)
                failure = error
        if failure is not None:
            raise failure

    async def newest(self, limit: int, before: int | None = None) -> list[EmailRecord]:
        """The latest records, newest first.

        Args:
            limit: at most that many.
            before: only those with a smaller id.
        """
        query = select(EmailRecord).order_by(EmailRecord.id.desc()).limit(limit)
        if before is not None:
            query = query.where(EmailRecord.id < before)
        async with self._maker() as session:
            return list((await session.scalars(query)).all())

    async def delete_older_than(self, days: int) -> int:
        """Delete the records of mails that did not change for so many days; return how many.

        A key whose record is gone can be sent again.
        """
        old = EmailRecord.updated_at < func.now() - dt.timedelta(days=days)
        async with self._maker() as session:
            return await delete_in_batches(session, EmailRecord, old, session.commit)


async def _claim(session: AsyncSession, message: EmailMessage, key: str | None) -> EmailRecord:
    """The record of the mail, new or from an earlier try, locked."""
    values = {
        "key": key,
        "recipient": str(message["To"]),
        "subject": str(message["Subject"]),
        "status": EmailStatus.PENDING,
        "attempts": 0,
        "message_id": str(message["Message-ID"]),
    }
    statement = insert(EmailRecord).values(values)
    # An update that changes nothing: it locks the row and returns it; "do nothing" would not.
    statement = statement.on_conflict_do_update(index_elements=["key"], set_={"updated_at": func.now()})
    query = statement.returning(EmailRecord)
    return (await session.scalars(query, execution_options={"populate_existing": True})).one()
