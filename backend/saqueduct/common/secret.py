"""A string that does not show itself in logs, errors or a debugger."""

import hmac
from typing import Any


class Secret:
    """Holds a secret; `repr` and `str` show stars, `reveal()` returns the value, `matches` compares in constant time.

    >>> Secret("hunter2")
    Secret('***')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one call that needs it."""
        return self._value

    def matches(self, candidate: str) -> bool:
        """True when `candidate` is the secret; an empty secret matches nothing."""
        same = hmac.compare_digest(self._value.encode(), candidate.encode())
        return bool(self._value) and same

    @classmethod
    def decode(cls, type_: type, value: Any) -> Any:
        """msgspec's `dec_hook`: converts a string to a Secret.

        Raises:
            NotImplementedError: any other type is asked for.
        """
        if type_ is cls:
            return cls(value)
        raise NotImplementedError(type_)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return f"Secret({'***' if self._value else ''!r})"

    __str__ = __repr__
