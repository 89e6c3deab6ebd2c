"""Notes that survive a redirect: signed, nothing is stored."""

import base64
import hmac
from typing import Final, NamedTuple

import msgspec

from saqueduct.common.secret import Secret

LONGEST_NOTE: Final = 2_600
"""Bytes of a note as JSON: it travels in a cookie, and browsers drop those of more than 4,096 bytes."""


class Note(NamedTuple):
    """What an action says on the page after it."""

    text: str
    kind: str = "ok"
    """"ok" or "error"."""
    link: str = ""
    """Address within the console; empty: none."""
    label: str = ""
    """Text of the link."""


class Notes:
    """Makes and reads notes.

    Args:
        secret: the application's secret key.
    """

    def __init__(self, secret: Secret) -> None:
        self._key = hmac.digest(secret.reveal().encode(), b"notes of the console", "sha256")

    def written(self, note: Note) -> str:
        """A note as the value of a cookie."""
        content = _text(_shortened(note))
        return f"{content}.{self._sign(content)}"

    def read(self, value: str) -> Note | None:
        """The note of a cookie; None if it is not one that was made here."""
        content, _, signature = value.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(content).encode()):
            return None
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)), type=Note)
        except (ValueError, msgspec.DecodeError):
            return None

    def _sign(self, content: str) -> str:
        return _text(hmac.digest(self._key, content.encode(), "sha256"))


def _shortened(note: Note) -> bytes:
    """A note as JSON, with as much of its text as fits; without its link where that alone is too long."""
    if len(msgspec.json.encode(note._replace(text=""))) > LONGEST_NOTE // 2:
        note = note._replace(link="", label="")
    text, encoded = note.text, msgspec.json.encode(note)
    while len(encoded) > LONGEST_NOTE:
        # JSON escapes some characters, and UTF-8 takes up to four bytes for one: by proportion, until it fits.
        text = text[: max(0, len(text) * LONGEST_NOTE // len(encoded) - 1)]
        encoded = msgspec.json.encode(note._replace(text=f"{text}…"))
    return encoded


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
