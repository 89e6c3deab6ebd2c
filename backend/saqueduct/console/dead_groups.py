"""Dead letters grouped by task and error."""

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from saqueduct.console.rendering import brief

GROUPED: Final = 1_000
"""The newest dead letters that are grouped."""

MOST_VERSIONS: Final = 3

BINS: Final = 24
"""Columns of a sparkline."""

_VARIABLE: Final = re.compile(r"\S*(?:[\d@'\"<>/{}\[\]]|0x)\S*")

_SEVERAL: Final = re.compile(r"…(?: …)+")

OTHERS: Final = "…"


class DeadLetter(NamedTuple):
    """What a group needs of a dead letter."""

    task: str
    error: str | None
    at: dt.datetime
    version: str | None = None
    """Of the code that its last attempt ran; None: unknown."""


class Group(NamedTuple):
    """Dead letters of a task with alike errors."""

    task: str
    pattern: str
    """The error, without the words that differ."""
    common: str
    """Longest text that all of these errors contain; empty: none that says much."""
    size: int
    last: dt.datetime
    bins: Sequence[int]
    """How many in each part of the time from the oldest to the newest dead letter."""
    versions: Sequence[tuple[str, int]] = ()
    """The MOST_VERSIONS versions of the code that most of them ran, with how many."""


def grouped(letters: Iterable[DeadLetter]) -> list[Group]:
    """Groups, the largest first."""
    found: dict[tuple[str, str], list[DeadLetter]] = {}
    everything = list(letters)
    for each in everything:
        found.setdefault((each.task, pattern_of(each.error)), []).append(each)
    times = [each.at for each in everything]
    groups = [
        Group(
            task,
            pattern,
            common_of(pattern),
            len(some),
            max(each.at for each in some),
            _bins(some, times),
            Counter(each.version for each in some if each.version).most_common(MOST_VERSIONS),
        )
        for (task, pattern), some in found.items()
    ]
    return sorted(groups, key=lambda group: -group.size)


def pattern_of(error: str | None) -> str:
    """An error without its numbers, addresses and names.

    >>> pattern_of("ConnectionError: 550 5.2.2 mailbox of ada@example.com is full")
    'ConnectionError: … mailbox of … is full'
    """
    return _SEVERAL.sub(OTHERS, _VARIABLE.sub(OTHERS, brief(error, 200))) or "no error"


def common_of(pattern: str) -> str:
    """The longest part of a pattern that is in every error; empty where it has fewer than 5 characters."""
    longest = max((part.strip() for part in pattern.split(OTHERS)), key=len, default="")
    return longest if len(longest) >= 5 and pattern != "no error" else ""


def _bins(letters: Sequence[DeadLetter], times: Sequence[dt.datetime]) -> list[int]:
    first, last = min(times), max(times)
    span = (last - first).total_seconds() or 1.0
    bins = [0] * BINS
    for each in letters:
        bins[min(BINS - 1, int((each.at - first).total_seconds() / span * BINS))] += 1
    return bins
