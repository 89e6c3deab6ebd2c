"""The arguments of a job in one line, for a table."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

MOST: Final = 120
"""Characters of the line."""

MEMBERS: Final = 3
"""Members of a list or an object that are written."""

LEVELS: Final = 2
"""Lists and objects in each other that are written."""

EXACT: Final = 10**18
"""Whole numbers below are written in digits; to write one of a million takes long."""


def brief_arguments(arguments: Mapping[str, Any] | None) -> str:
    """Names and values, cut; empty where there are none, or they are not known.

    >>> brief_arguments({"to": "ada@example.com", "items": [1, 2, 3, 4], "gift": True})
    'to: ada@example.com, items: [1, 2, 3, …], gift: true'
    """
    line = ""
    for name, value in (arguments or {}).items():
        line += f"{', ' if line else ''}{_text(name)}: {_brief(value)}"
        if len(line) > MOST:
            return line[: MOST - 1] + "…"
    return line


def _brief(value: Any, level: int = 0) -> str:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value) if -EXACT < value < EXACT else "…"
    if isinstance(value, Mapping):
        pairs = (f"{_text(name)}: {_brief(each, level + 1)}" for name, each in value.items())
        return f"{{{_some(pairs, len(value), level)}}}"
    if isinstance(value, list | tuple):
        return f"[{_some((_brief(each, level + 1) for each in value), len(value), level)}]"
    return _text(str(value))


def _some(texts: Iterable[str], count: int, level: int) -> str:
    if level >= LEVELS:
        return "…" if count else ""
    return ", ".join([*_first(texts), *(("…",) if count > MEMBERS else ())])


def _first(texts: Iterable[str]) -> Iterator[str]:
    for _, text in zip(range(MEMBERS), texts, strict=False):
        yield text


def _text(text: str) -> str:
    return " ".join(text[:MOST].split()) + "…" * (len(text) > MOST)
