"""What can go wrong with a mail."""

from app.errors import AppError


class MailError(Exception):
    """The mail server did not take a mail."""


class TemporaryMailError(MailError):
    """It may take it later: no connection, a time-out, or a 4xx answer (RFC 5321, section 4.2.1)."""


class PermanentMailError(MailError):
    """It never will: a 5xx answer, such as an unknown mailbox."""


class InvalidMail(AppError):
    """The mail cannot be written: bad address, line break in a header, too long."""

    code = "invalid-mail"
