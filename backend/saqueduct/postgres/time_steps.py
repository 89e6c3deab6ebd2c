"""Times and steps of the history, and its points; without SQL."""

import datetime as dt
from typing import Final, NamedTuple

import msgspec

from saqueduct.common.clock import time_now
from saqueduct.common.durations import Durations
from saqueduct.errors import InvalidSearch

MINUTE, HOUR, DAY = 60, 3600, 86400

KEPT_DAYS: Final = {MINUTE: 7, HOUR: 90, DAY: 730}
"""Days that rows of each step are kept."""

CHOICES: Final = (60, 300, 900, 3600, 6 * 3600, DAY, 7 * DAY)
"""Steps that are chosen where a request names none."""

FEW, MOST_POINTS = 300, 3000
"""Points of a series: up to so many where the step is chosen, and at most."""


class Span(NamedTuple):
    """A time in steps: from `first` to before `end`, in epoch seconds, by rows of `source` seconds."""

    first: int
    end: int
    step: int
    source: int

    @classmethod
    def of(cls, since: dt.datetime | None, until: dt.datetime | None, step: int | None = None) -> "Span":
        """The span of a request.

        Args:
            since: an hour ago by default.
            until: now by default.
            step: seconds, whole minutes; chosen by default.

        Raises:
            InvalidSearch: the times or the step do not fit.
        """
        now = time_now()
        end = now if until is None else until.timestamp()
        begin = end - HOUR if since is None else since.timestamp()
        if not begin < end:
            raise InvalidSearch("since must be before until")
        if step is None:
            step = next((each for each in CHOICES if _fits(begin, end, each, now)), CHOICES[-1])
        if step < MINUTE or step % MINUTE:
            raise InvalidSearch(f"step: {step} must be whole minutes in seconds, such as 60, 300, 3600 or 86400")
        if end - begin > MOST_POINTS * step:
            raise InvalidSearch(f"more than {MOST_POINTS:,} points: give a larger step, or a shorter time")
        source = _source(step)
        if begin < now - KEPT_DAYS[source] * DAY:
            raise InvalidSearch(
                f"rows for a step of {step} s are kept for {KEPT_DAYS[source]} days: give a later since, or a step of "
                "3600 (90 days) or 86400 (two years)"
            )
        first = int(begin) // step * step
        return cls(first, -(-int(end) // step) * step, step, source)


class Totals(msgspec.Struct, kw_only=True):
    """What happened in a time."""

    enqueued: int
    complete: int
    """Jobs that ended so; `failed` and `aborted` likewise."""
    failed: int
    aborted: int
    retried: int
    """Attempts that were followed by another one."""
    recovered: int
    """Jobs that were queued again after their worker died."""
    wait: Durations
    """From the time that a job was due to its first start; retries are not counted."""
    run: Durations
    """Of all attempts."""


class Point(Totals, kw_only=True):
    """A step of a series."""

    at: dt.datetime
    """Its beginning."""


class Trend(NamedTuple):
    """What happened in a time, as a whole and by steps."""

    total: Totals
    points: list[Point]
    """One for each step, oldest first."""

    @property
    def ended(self) -> list[int]:
        """Jobs that ended in each step."""
        return [point.complete + point.failed + point.aborted for point in self.points]


class Summary(NamedTuple):
    """What happened in a time as a whole, and how much by steps."""

    total: Totals
    ended: list[int]
    """Jobs that ended in each step, oldest first."""


class Total(Totals, kw_only=True):
    """The sum for a task of a queue."""

    queue: str
    task: str


def _source(step: int) -> int:
    return next(each for each in (DAY, HOUR, MINUTE) if step % each == 0)


def _fits(begin: float, end: float, step: int, now: float) -> bool:
    return (end - begin) / step <= FEW and begin >= now - KEPT_DAYS[_source(step)] * DAY
