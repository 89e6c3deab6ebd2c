"""Arguments that failed jobs have more often than complete ones."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from saqueduct.tasks.redaction import REDACTED

TIMES: Final = 2.0
"""How much more often than among complete jobs a value must be among failed ones."""

LEAST: Final = 2
"""Failed jobs that must have the value."""

LONGEST_VALUE: Final = 80
"""Characters of a value; longer ones are rarely the same twice."""

Plain = str | int | float | bool | None


class Failing(NamedTuple):
    """A value of an argument."""

    name: str
    value: str
    """As JSON."""
    failed: int
    """Failed jobs with it."""
    complete: int
    """Complete jobs with it."""

    @property
    def search(self) -> str:
        """What finds jobs with it, see `search.search_of`; empty: the search cannot say it."""
        text = self.value[1:-1] if self.value.startswith('"') else self.value
        plain = self.name.isidentifier() and text and not any(each in text for each in '"\\:')
        return f'{self.name}:"{text}"' if plain and " " in text else f"{self.name}:{text}" if plain else ""


def failing_arguments(
    failed: Sequence[Mapping[str, Any]], complete: Sequence[Mapping[str, Any]], most: int = 5
) -> list[Failing]:
    """The values that stand out, the most frequent first.

    >>> failing_arguments([{"to": "x", "n": 1}, {"to": "x", "n": 2}], [{"to": "y"}] * 8)
    [Failing(name='to', value='"x"', failed=2, complete=0)]

    Args:
        failed: arguments of failed jobs.
        complete: arguments of complete jobs, to compare.
        most: values at most.
    """
    bad, good = Counter(_pairs(failed)), Counter(_pairs(complete))
    found = [
        Failing(*pair, count, good[pair])
        for pair, count in bad.most_common()
        if count >= LEAST and count / len(failed) >= TIMES * good[pair] / max(1, len(complete))
    ]
    return found[:most]


def _pairs(jobs: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    for arguments in jobs:
        for name, value in arguments.items():
            # What is redacted has any value.
            if value == REDACTED:
                continue
            if isinstance(value, Plain) and len(encoded := msgspec.json.encode(value).decode()) <= LONGEST_VALUE:
                yield name, encoded
