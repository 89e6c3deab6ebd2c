"""Builds a mail from untrusted parts."""

import email.policy
import hashlib
import unicodedata
import uuid
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, localtime, parseaddr

from email_validator import EmailNotValidError, validate_email

from app.emails.errors import InvalidMail

MAX_SUBJECT = 200
"""Characters."""

MAX_ADDRESS = 254
"""Characters of an address (RFC 5321, erratum 1690)."""

MAX_BODY = 200_000
"""Characters; together with the arguments' limit in bytes it keeps mails small."""

NOT_IN_A_HEADER = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories: control characters, lone surrogates, line and paragraph separators."""

ENCODED_WORD = "=?"
"""Begins an encoded word (RFC 2047). Python's `email` decodes those of a header that is set, and writes what comes out,
line breaks too, into the mail as it is: with `=?utf-8?q?a=0D=0ABcc:_b@example.com?=` a subject adds a header."""


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
    _check_subject(subject)
    _check_body(body)
    name, address = parseaddr(sender)
    # 7 bit: not every server takes more.
    message = EmailMessage(policy=email.policy.SMTP.clone(cte_type="7bit"))
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
    if ENCODED_WORD in address:
        raise InvalidMail(f"to: {ENCODED_WORD!r} is not allowed in an address")
    if len(address) > MAX_ADDRESS:
        # Before it is read character by character, which takes half a second for a million.
        raise InvalidMail(
            f"to: {address[:MAX_ADDRESS]!r} is not an email address: it has more than {MAX_ADDRESS} characters"
        )
    try:
        return str(validate_email(address, check_deliverability=False, allow_smtputf8=False).ascii_email)
    except EmailNotValidError as error:
        raise InvalidMail(f"to: {address!r} is not an email address: {error}") from None


def _check_subject(subject: str) -> None:
    if any(unicodedata.category(character) in NOT_IN_A_HEADER for character in subject):
        raise InvalidMail("subject: line breaks and control characters are not allowed in a header")
    if ENCODED_WORD in subject:
        raise InvalidMail(f"subject: {ENCODED_WORD!r} is not allowed in a header")
    if not 0 < len(subject) <= MAX_SUBJECT:
        raise InvalidMail(f"subject: 1 to {MAX_SUBJECT} characters, not {len(subject)}")


def _check_body(body: str) -> None:
    if len(body) > MAX_BODY:
        raise InvalidMail(f"body: at most {MAX_BODY} characters, not {len(body)}")
    if "\0" in body or (not body.isascii() and any(unicodedata.category(character) == "Cs" for character in body)):
        raise InvalidMail("body: must not contain NUL or lone surrogates")


def _message_id(sender: str, key: str | None) -> str:
    unique = hashlib.sha256(key.encode()).hexdigest()[:40] if key else uuid.uuid4().hex
    return f"<{unique}@{sender.rpartition('@')[2]}>"
