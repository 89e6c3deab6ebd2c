"""Checks the kinds of the values of SaqueductConfig, such as a text where True or False is needed."""

import dataclasses
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

_KINDS: dict[Any, tuple[type[Any] | tuple[type[Any], ...], str]] = {
    bool: (bool, "True or False"),
    str: (str, "a text"),
    Mapping: (Mapping, "a mapping, such as {'name': ...}"),
    Sequence: (Collection, "a list"),
    # A single text passes here: those fields have checks that show how to write a list of it.
    Sequence[str]: (Collection, "a list"),
    Literal: (str, "a text"),
}
"""What values of an annotation are, and the words for it."""


def kind_problems(config: Any) -> list[str]:
    """Of the fields of a dataclass whose values are of another kind than is declared; no value of a secret is shown.

    None in place of an empty text or list, as of a variable that is not set, becomes that. Numbers have checks of
    their own.
    """
    problems = []
    for field, kinds in _fields(type(config)):
        value = getattr(config, field.name)
        if value is None and field.default in ("", ()):
            setattr(config, field.name, field.default)
        elif kinds and not any(_is_of(value, kind) for kind in kinds):
            words = " or ".join("None" if kind is types.NoneType else _words(kind) for kind in kinds)
            problems.append(f"{field.name} takes {words}, not {repr(value) if field.repr else type(value).__name__}")
    return problems


def _fields(class_: type[Any]) -> "list[tuple[dataclasses.Field[Any], tuple[Any, ...]]]":
    """The fields, each with the kinds that it takes; no kinds: it has no check here."""
    hints = typing.get_type_hints(class_)
    fields = [field for field in dataclasses.fields(class_) if "kind" not in field.metadata]
    return [(field, _kinds(hints[field.name])) for field in fields]


def _kinds(hint: Any) -> tuple[Any, ...]:
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = tuple(dict.fromkeys(_kind(member) for member in members))
    return () if Any in kinds or int in kinds else kinds


def _kind(member: Any) -> Any:
    return member if member == Sequence[str] else get_origin(member) or member


def _is_of(value: Any, kind: Any) -> bool:
    if isinstance(value, str) and kind is Sequence:
        return False
    return isinstance(value, _KINDS[kind][0] if kind in _KINDS else kind)


def _words(kind: Any) -> str:
    return _KINDS[kind][1] if kind in _KINDS else f"a {kind.__name__}"
