"""Unknown names, and the known ones that they resemble: most are misspelled."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Self


def near_names(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """The known names that resemble one, best first."""
    return difflib.get_close_matches(name, list(known), n=most)


def did_you_mean(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """The end of a message about an unknown name.

    >>> did_you_mean("redis_ulr", ["redis_url", "queues"])
    "did you mean 'redis_url'?"

    Args:
        name: the unknown one.
        known: those that exist.
        otherwise: what to say if none resembles it; by default, which there are.
    """
    known = list(known)
    if near := near_names(name, known):
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(known)}" if otherwise is None else otherwise


def unknown_fields(type_: type[Any], given: Mapping[str, Any]) -> list[str]:
    """A problem for each name that is no field of a dataclass."""
    if given.keys() <= type_.__dataclass_fields__.keys():
        return []
    known = [field.name for field in dataclasses.fields(type_) if field.init]
    return [f"there is no field {name!r}: {did_you_mean(name, known)}" for name in given if name not in known]


class NamedFields:
    """Base of a dataclass that names a misspelled field.

    Raises:
        TypeError: an argument is no field; says which one was probably meant.
    """

    __slots__ = ()

    def __new__(cls, *_: Any, **given: Any) -> Self:
        if problems := unknown_fields(cls, given):
            raise TypeError(f"{cls.__name__}: {'; '.join(problems)}")
        return super().__new__(cls)
