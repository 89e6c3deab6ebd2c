"""Schedules: when a task runs by itself."""

import dataclasses
import datetime as dt
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from app.queue.wall_clock import next_match

CatchUp = Literal["once", "skip"]
Overlap = Literal["skip", "queue"]

MISSED = 60.0
"""Seconds after its time that a tick counts as missed."""

SHORTEST = 0.1
"""Seconds that an interval has at least."""

_WINDOWS = (60.0, 3600.0, 86400.0, math.inf)

CronField = int | str | Iterable[int]
"""One field of a cron: a number, text in cron's words such as "*/15" or "mon-fri", or several numbers."""


def crontab(
    *,
    minute: CronField = "*",
    hour: CronField = "*",
    day_of_month: CronField = "*",
    month_of_year: CronField = "*",
    day_of_week: CronField = "*",
) -> str:
    """A cron expression of named fields, with the names and defaults of Celery's `crontab`.

    >>> crontab(minute=30, hour="9-17", day_of_week="mon-fri")
    '30 9-17 * * mon-fri'
    >>> crontab(minute=0, hour=[6, 18])
    '0 6,18 * * *'
    """
    fields = (minute, hour, day_of_month, month_of_year, day_of_week)
    return " ".join(str(f) if isinstance(f, int | str) else ",".join(map(str, f)) for f in fields)


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """A declaration of when a task runs by itself: a cron or an interval.

    Attributes:
        cron: five fields (minute hour day month weekday), or six with seconds last; see `crontab`.
        kwargs: arguments of every job the schedule makes; they override the function's defaults.
        every: seconds between two ticks, in place of `cron`; ticks lie on whole multiples of it since the epoch, so
            that a restart does not put them off.
        key: the schedule's name, unique among all schedules; empty: the task's name.
        timezone: IANA name of the zone in which `cron` is read; None: WORKER_CRON_TIMEZONE.
        catch_up: what becomes of ticks that no worker saw: "once", one job for all of them; "skip", none, when the
            latest is more than MISSED seconds ago.
        overlap: what becomes of a tick while the job of an earlier one waits or runs: "skip", it makes no job;
            "queue", it makes one.

    Raises:
        ValueError: no cron expression, or one that no date matches; cron and every, or neither; an unknown zone or
            policy.
    """

    cron: str | None = None
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    every: float | None = None
    key: str = ""
    timezone: str | None = None
    catch_up: CatchUp = "once"
    overlap: Overlap = "skip"

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.every is None):
            raise ValueError("a schedule has either a cron or an interval: cron='0 3 * * *' or every=60.0")
        if self.catch_up not in ("once", "skip"):
            raise ValueError(f'catch_up must be "once" or "skip", not {self.catch_up!r}')
        if self.overlap not in ("skip", "queue"):
            raise ValueError(f'overlap must be "skip" or "queue", not {self.overlap!r}')
        if self.every is not None and not SHORTEST <= self.every < math.inf:
            raise ValueError(f"every must be at least {SHORTEST} seconds, not {self.every!r}")
        if self.timezone is not None:
            _check_zone(self.timezone, self.cron)
        if self.cron is not None:
            _check_cron(self.cron)

    @property
    def timing(self) -> str:
        """When it is due, in words that tell two timings apart."""
        if self.cron is None:
            return f"every {self.every} s"
        return f"{self.cron} {self.timezone}" if self.timezone else self.cron

    def next_tick(self, after: float, zone: dt.tzinfo) -> float:
        """The first tick after a time.

        Args:
            after: epoch seconds.
            zone: in which the cron is read, unless the schedule has a zone of its own.

        Returns:
            Epoch seconds, whole milliseconds.
        """
        if self.every is not None:
            # The quotient may be rounded to the tick that `after` is.
            turn = math.floor(after / self.every)
            while (tick := round(turn * self.every, 3)) <= after:
                turn += 1
            return tick
        return next_match(self.cron or "", after, ZoneInfo(self.timezone) if self.timezone else zone)

    def latest_tick(self, first: float, until: float, zone: dt.tzinfo) -> float:
        """Of the ticks from `first`, which is one, to `until` the latest; epoch seconds.

        Looks back from the end in growing windows: after a long pause there may be very many ticks.
        """
        latest = first
        for window in _WINDOWS:
            start = until - window
            tick = first if start <= first else self.next_tick(start, zone)
            while tick <= until:
                latest, tick = tick, self.next_tick(tick, zone)
            if latest > first or start <= first:
                break
        return latest


def _check_zone(timezone: str, cron: str | None) -> None:
    if cron is None:
        raise ValueError("timezone goes with cron; an interval has none")
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{timezone!r} is not a time zone; give an IANA name such as 'Europe/Berlin'") from None


def _check_cron(cron: str) -> None:
    if not croniter.is_valid(cron):
        raise ValueError(
            f"{cron!r} is not a cron expression: five fields, minute hour day month weekday, "
            'such as "0 3 * * *" for every day at 03:00'
        )
    try:
        next_match(cron, 0.0, dt.UTC)
    except CroniterError:
        raise ValueError(f"{cron!r} never comes due: no date matches it") from None
