"""Where mails go: to an SMTP server, or in development to files."""

import asyncio
import contextlib
import datetime as dt
import uuid
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol

import aiosmtplib

from app.emails.errors import MailError, MailOutcomeUnknown, MailServerAway, PermanentMailError, TemporaryMailError
from app.settings import Settings, SmtpSettings

QUIT_TIMEOUT = 1
"""Seconds that closing the session may take; the mail has been accepted by then."""

SMTP_ERRORS = (aiosmtplib.SMTPException, OSError)
"""What aiosmtplib raises; timeouts are OSErrors."""


class Mailer(Protocol):
    """Delivers mails."""

    async def send(self, message: EmailMessage) -> None:
        """Hand a mail over.

        Raises:
            TemporaryMailError: it may be taken later.
            PermanentMailError: it never will.
        """


class SmtpMailer:
    """Sends by SMTP, one connection per mail.

    Args:
        settings: server, credentials, time limit.
    """

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings

    async def send(self, message: EmailMessage) -> None:
        """See `Mailer`."""
        client = self._client()
        connected = False
        try:
            # One limit for the whole exchange: aiosmtplib's own limit applies to each answer.
            async with asyncio.timeout(self._settings.timeout):
                await client.connect()
                connected = True
                await client.send_message(message)
            with contextlib.suppress(*SMTP_ERRORS):
                await client.quit(timeout=QUIT_TIMEOUT)
        except SMTP_ERRORS as error:
            raise (classify(error) if connected else MailServerAway(describe(error))) from error
        finally:
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        settings = self._settings
        return aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username or None,
            password=settings.password.reveal() or None,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            timeout=settings.timeout,
        )


class FileMailer:
    """Writes each mail as a file `.eml`, which mail programs open.

    Args:
        directory: made when it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def send(self, message: EmailMessage) -> None:
        """See `Mailer`."""
        await asyncio.to_thread(self._write, bytes(message))

    def _write(self, content: bytes) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        name = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S.%f}-{uuid.uuid4().hex[:8]}"
        # Under a temporary name first, so that no program reads half a mail.
        unfinished = self._directory / f".{name}"
        unfinished.write_bytes(content)
        unfinished.rename(self._directory / f"{name}.eml")


def make_mailer(settings: Settings) -> Mailer:
    """SMTP where SMTP_HOST is set, else files under DEV_DIR/mail (production requires SMTP_HOST)."""
    if settings.smtp.host:
        return SmtpMailer(settings.smtp)
    return FileMailer(Path(settings.app.dev_dir) / "mail")


def classify(error: Exception) -> MailError:
    """What an error after the connection, TLS and login means; an earlier one says nothing about the mail."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [refused.code for refused in error.recipients]
        lasting = bool(codes) and all(code >= 500 for code in codes)
        return (PermanentMailError if lasting else TemporaryMailError)(describe(error))
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return (PermanentMailError if error.code >= 500 else TemporaryMailError)(describe(error))
    if isinstance(error, OSError):
        return MailOutcomeUnknown(describe(error))
    return TemporaryMailError(describe(error))


def describe(error: Exception) -> str:
    """Kind and text of an error, as readable text."""
    return f"{type(error).__name__}: {error}"
