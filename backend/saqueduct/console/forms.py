"""The fields of a form."""

from collections.abc import Iterable


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

    def exact(self, name: str) -> str:
        """The first value of a field, as it was sent; empty: there is none."""
        return next((value for each, value in self._fields if each == name), "")

    def all(self, name: str) -> list[str]:
        """All values of a field, as they were sent."""
        return [value for each, value in self._fields if each == name]

    def __contains__(self, name: object) -> bool:
        return any(each == name for each, _ in self._fields)
