"""The fields of a form."""

from collections.abc import Iterable
from typing import Final

from litestar.exceptions import ValidationException

LONGEST_REASON: Final = 2_000
"""Bytes of a reason: 500 characters of any script, as its field takes, have fewer."""


class Form:
    """The fields of a form, in the order in which they were sent.

    Args:
        fields: names and values.
    """

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        self._fields = list(fields)

    def text(self, name: str, default: str = "") -> str:
        """The first value of a field, without spaces around it."""
        return next((value.strip() for each, value in self._fields if each == name), default)

    def reason(self) -> str:
        """Why something is done.

        Raises:
            ValidationException: it has more than LONGEST_REASON bytes.
        """
        text = self.text("why")
        if (size := len(text.encode("utf-8", "replace"))) > LONGEST_REASON:
            raise ValidationException(f"the reason has {size:,} bytes, and {LONGEST_REASON:,} are kept: shorten it")
        return text

    def exact(self, name: str) -> str:
        """The first value of a field, as it was sent; empty: there is none."""
        return next((value for each, value in self._fields if each == name), "")

    def all(self, name: str) -> list[str]:
        """All values of a field, as they were sent."""
        return [value for each, value in self._fields if each == name]

    def __contains__(self, name: object) -> bool:
        return any(each == name for each, _ in self._fields)
