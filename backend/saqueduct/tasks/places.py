"""Places: locates the part of a value that JSON cannot represent, such as `items[3].price`."""

import dataclasses
import datetime as dt
import enum
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from saqueduct.common.text import storable
from saqueduct.tasks import pydantic_models
from saqueduct.tasks.nesting import LEVELS

_DEEPEST: Final = LEVELS + 1
"""Levels that are looked at: those of an argument, in the mapping of all arguments."""


def is_endless(leaf: Any) -> bool:
    """True for NaN and infinity, which have no JSON form."""
    if isinstance(leaf, float):
        return not math.isfinite(leaf)
    return isinstance(leaf, Decimal) and not leaf.is_finite()


def is_between_minutes(leaf: Any) -> bool:
    """True for a time whose UTC offset has seconds, as before about 1900; times in JSON (RFC 3339) have none."""
    if not isinstance(leaf, dt.datetime | dt.time):
        return False
    offset = leaf.utcoffset()
    return bool(offset and offset % dt.timedelta(minutes=1))


def is_half_a_pair(leaf: Any) -> bool:
    """True for a text with a lone surrogate, which has no UTF-8 form."""
    return isinstance(leaf, str) and not leaf.isascii() and storable(leaf).replace("\\x00", "\x00") != leaf


def has_one_name_twice(part: Any) -> bool:
    """True for a mapping with two keys that have the same name in JSON, such as 1 and "1": a value would be lost."""
    if not isinstance(part, Mapping) or all(type(key) is str for key in part):
        return False
    return len(msgspec.to_builtins(dict.fromkeys(part), str_keys=True)) < len(part)


def place_of(value: Any, wrong: Callable[[Any], bool], name: str = "") -> str | None:
    """The place of the first invalid part of a value; None: there is none. Empty: it is the value itself.

    >>> place_of({"items": [{"price": 1.0}, {"price": float("nan")}]}, is_endless)
    'items[1].price'

    Parts more than LEVELS inside each other, which no job may have, are not looked at.

    Args:
        value: the value to encode.
        wrong: returns True for an invalid part; called with mappings, and with values that have no parts.
        name: name of the value.
    """
    return next((place for place, part in _parts(value, name, _DEEPEST) if wrong(part)), None)


def _parts(value: Any, place: str, levels: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str | bytes | bytearray | memoryview | int):
        yield place, value
    elif isinstance(value, enum.Enum):
        yield place, value.value
    elif isinstance(value, Mapping):
        yield from _of_mapping(value, place, levels)
    elif (fields := fields_of(value)) is not None:
        for name, each in fields if levels else ():
            yield from _parts(each, f"{place}.{name}" if place else name, levels - 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for number, each in enumerate(value if levels else ()):
            yield from _parts(each, f"{place}[{number}]", levels - 1)
    else:
        yield place, value


def _of_mapping(value: Mapping[Any, Any], place: str, levels: int) -> Iterator[tuple[str, Any]]:
    yield place, value
    for key, each in value.items() if levels else ():
        name = storable(str(key))
        inner = f"{place}.{name}" if place else name
        yield f"the name {inner}", key
        yield from _parts(each, inner, levels - 1)


def fields_of(value: Any) -> Iterable[tuple[str, Any]] | None:
    """The fields of an object that is encoded by its fields, by name; None for other objects."""
    type_ = type(value)
    if isinstance(value, msgspec.Struct):
        names: Iterable[str] = value.__struct_fields__
    elif dataclasses.is_dataclass(type_):
        names = [field.name for field in dataclasses.fields(type_)]
    elif hasattr(type_, "__attrs_attrs__"):
        names = [field.name for field in type_.__attrs_attrs__]
    elif pydantic_models.is_model(type_):
        return [*vars(value).items(), *(value.__pydantic_extra__ or {}).items()]
    else:
        return None
    return [(name, getattr(value, name)) for name in names if hasattr(value, name)]
