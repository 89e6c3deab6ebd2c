"""Notes that survive a redirect: signed, nothing is stored."""

import base64
import hmac
from typing import Final, NamedTuple

import msgspec

from saqueduct.common.secret import Secret

LONGEST_NOTE: Final = 1000
"""Characters of a note: it travels in a cookie."""


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
        text = note.text if len(note.text) <= LONGEST_NOTE else note.text[: LONGEST_NOTE - 1] + "…"
        content = _text(msgspec.json.encode(note._replace(text=text)))
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


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
