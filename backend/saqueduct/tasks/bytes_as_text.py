"""Bytes where text is declared: JSON would carry them as Base64, which the task would take for the text."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import inspect as msgspec_inspect

from saqueduct.tasks.places import place_of

BYTES: Final = (bytes, bytearray, memoryview)

_LEAVES: Final = frozenset({str, int, float, bool, type(None)})

_NONE: Final[dict[str, str]] = {}

WHY: Final = "arrive as Base64 text: declare `bytes` to get them back, or pass text, such as `value.decode()`"

_AS_KEY: Final = "arrives as Base64 text: pass text"

_READ_FROM_TEXT: Final = (msgspec_inspect.StrType, msgspec_inspect.DecimalType)

_READ_BYTES: Final = (
    msgspec_inspect.BytesType,
    msgspec_inspect.ByteArrayType,
    msgspec_inspect.MemoryViewType,
    # Without a type it is not known what is expected, and models of pydantic have rules of their own.
    msgspec_inspect.AnyType,
    msgspec_inspect.CustomType,
)

Find = Callable[[Any], str | None]
"""The message for a value with bytes in it, which begins with their place within the value; None: there are none."""


def finder(type_: Any, parts: Callable[[Any], list[Any]]) -> Find | None:
    """Finds bytes in values of a type; None: bytes are no text in it, or it is not known.

    Args:
        type_: as declared.
        parts: the types that a type contains, and itself.
    """
    found = parts(type_)
    if any(isinstance(part, _READ_BYTES) for part in found):
        return None
    if not any(isinstance(part, _READ_FROM_TEXT) for part in found):
        return None
    plain = all(isinstance(part, (*_READ_FROM_TEXT, msgspec_inspect.NoneType)) for part in _branches(type_))
    return _in_plain if plain else _Nested(type_)


def found_in(arguments: Mapping[str, Any], finders: Mapping[str, Find], further: Find | None) -> dict[str, str]:
    """By name, the messages for arguments with bytes in place of text.

    Args:
        arguments: of a call.
        finders: by parameter.
        further: of the values of `**kwargs`.
    """
    if _LEAVES.issuperset(map(type, arguments.values())):
        return _NONE
    problems = {}
    for name, find in finders.items():
        value = arguments.get(name)
        if (problem := find(value)) is not None:
            problems[name] = f"{name}{problem}"
    if further is not None:
        for name, value in arguments.items():
            if name not in finders and (problem := further(value)) is not None:
                problems[name] = f"{name}{problem}"
    return problems


def _branches(type_: Any) -> tuple[Any, ...]:
    info = msgspec_inspect.type_info(type_)
    while isinstance(info, msgspec_inspect.Metadata):
        info = info.type
    return info.types if isinstance(info, msgspec_inspect.UnionType) else (info,)


def _in_plain(value: Any) -> str | None:
    return f": {type(value).__name__} {WHY}" if isinstance(value, BYTES) else None


class _Nested:
    def __init__(self, type_: Any) -> None:
        self._type = type_

    def __call__(self, value: Any) -> str | None:
        if not isinstance(value, BYTES):
            try:
                # Many times as fast as the walk, and enough for what has the declared types.
                msgspec.convert(value, self._type)
            except (msgspec.ValidationError, TypeError, ValueError):
                pass
            else:
                return None
        place = place_of(value, _is_bytes)
        if place is None:
            return None
        if place.startswith("the name "):
            return f": a key that is bytes {_AS_KEY}"
        separator = "." if place and place[0] != "[" else ""
        return f"{separator}{place}: bytes {WHY}"


def _is_bytes(leaf: Any) -> bool:
    return isinstance(leaf, BYTES)
