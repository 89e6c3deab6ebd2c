"""What can go wrong with a mail.

MailError
├── TemporaryMailError     the server may take it later
│   ├── MailServerAway       it was not even offered
│   └── MailOutcomeUnknown   it may have been taken
└── PermanentMailError     the server never will
InvalidMail                it cannot be written (400)
"""

from app.errors import AppError


class MailError(Exception):
    """The mail server did not take a mail."""


class TemporaryMailError(MailError):
    """It may take it later: a 4xx answer (RFC 5321, section 4.2.1), or one of the two below."""


class MailServerAway(TemporaryMailError):
    """There was no session to send it in: no connection, no TLS, refused credentials. Any other mail would fail in the
    same way."""


class MailOutcomeUnknown(TemporaryMailError):
    """The connection ended before the server's answer: it may have taken the mail."""


class PermanentMailError(MailError):
    """It never will take it: a 5xx answer, such as an unknown mailbox."""


class InvalidMail(AppError):
    """The mail cannot be written: bad address, line break in a header, too long."""

    code = "invalid-mail"
