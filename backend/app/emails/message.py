"""Writes a mail out of untrusted parts."""

import email.policy
import hashlib
import uuid
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, localtime, parseaddr

from email_validator import EmailNotValidError, validate_email

from app.emails.errors import InvalidMail

MAX_SUBJECT = 200
"""Characters."""

MAX_BODY = 200_000
"""Characters; together with the arguments' limit in bytes it keeps mails small."""

LINE_BREAKS = frozenset("\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029\0")
"""What `str.splitlines` breaks at, and NUL: none of it has a place in a header."""


def compose(*, sender: str, to: str, subject: str, body: str, key: str | None = None) -> EmailMessage:
    """A plain text mail with From, To, Subject, Date and Message-ID.

    Args:
        sender: From address, with or without a name.
        to: one address.
        subject: one line.
        body: text.
        key: with it the Message-ID is always the same, so that receivers recognise a mail that was sent twice.

    Raises:
        InvalidMail: names the part that is wrong.
    """
    if LINE_BREAKS.intersection(subject):
        raise InvalidMail("subject: line breaks are not allowed in a header")
    if not 0 < len(subject) <= MAX_SUBJECT:
        raise InvalidMail(f"subject: 1 to {MAX_SUBJECT} characters, not {len(subject)}")
    if len(body) > MAX_BODY:
        raise InvalidMail(f"body: at most {MAX_BODY} characters, not {len(body)}")
    name, address = parseaddr(sender)
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = Address(name, addr_spec=address)
    message["To"] = Address(addr_spec=valid_address(to))
    message["Subject"] = subject
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = _message_id(address, key)
    message.set_content(body)
    return message


def valid_address(address: str) -> str:
    """The address in its normal spelling, its domain as ASCII. DNS is not asked.

    Raises:
        InvalidMail: it is no address.
    """
    try:
        return str(validate_email(address, check_deliverability=False, allow_smtputf8=False).ascii_email)
    except EmailNotValidError as error:
        raise InvalidMail(f"to: {address!r} is not an email address: {error}") from None


def _message_id(sender: str, key: str | None) -> str:
    unique = hashlib.sha256(key.encode()).hexdigest()[:40] if key else uuid.uuid4().hex
    return f"<{unique}@{sender.rpartition('@')[2]}>"
