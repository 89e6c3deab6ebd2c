"""Canonical values: one form for all values that are equal, so that their digest can be compared."""

import datetime as dt
import enum
import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from saqueduct.tasks.places import fields_of

LARGEST_INTEGER = 2**63
"""Floats from this value on stay floats: as integers they would be very long."""


def digest(value: Any) -> str:
    """32 hex digits, the same for equal values of any type that JSON can represent, in every process."""
    return hashlib.blake2b(_encoded(value), digest_size=16).hexdigest()


def canonical(value: Any) -> Any:
    """A value as JSON builtins, the same for equal values.

    Sets and mappings have no order, 2.0 is 2, Decimal("1.50") is Decimal("1.5"), a moment is the same in any zone.

    Args:
        value: of the declared type, not in its encoded form.
    """
    if isinstance(value, enum.Enum):
        return canonical(value.value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < LARGEST_INTEGER else value
    if isinstance(value, Decimal):
        return _of_decimal(value)
    if isinstance(value, dt.datetime | dt.time):
        return _of_time(value)
    return _of_container(value)


def _of_container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_encoded(key).decode(): canonical(each) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return [msgspec.Raw(each) for each in sorted(map(_encoded, value))]
    if isinstance(value, list | tuple):
        return [canonical(each) for each in value]
    if (fields := fields_of(value)) is not None:
        return {name: canonical(each) for name, each in (*fields, ("", _tag(value))) if each is not msgspec.UNSET}
    # Types that msgspec does not support come from a pydantic model, such as a URL.
    return msgspec.to_builtins(value, enc_hook=str)


def _tag(value: Any) -> Any:
    return value.__struct_config__.tag if isinstance(value, msgspec.Struct) else None


def _of_decimal(value: Decimal) -> Any:
    if abs(value) < LARGEST_INTEGER and value == value.to_integral_value():
        return int(value)
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits))
    stripped = text.rstrip("0")
    return [sign, stripped.lstrip("0"), int(exponent) + len(text) - len(stripped)]


def _of_time(value: dt.datetime | dt.time) -> str:
    if value.tzinfo is None or value.utcoffset() is None:
        return value.isoformat()
    # A time with an offset has no date: compare it as if on a fixed day.
    moment = value if isinstance(value, dt.datetime) else dt.datetime.combine(dt.date(2000, 1, 2), value)
    try:
        return moment.astimezone(dt.UTC).isoformat()
    except OverflowError:
        return moment.isoformat()


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(canonical(value), order="deterministic")
