"""Schedules: when a task runs automatically."""

import dataclasses
import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from saqueduct.common.near_names import NamedFields
from saqueduct.common.text import check_key
from saqueduct.common.time_limits import LONGEST_TIME
from saqueduct.schedules.cron_text import EXAMPLE, normalized
from saqueduct.schedules.wall_clock import next_match

CatchUp = Literal["once", "skip"]
Overlap = Literal["skip", "queue"]

MISSED = 60.0
"""Seconds after its due time from which a tick counts as missed."""

LONGEST_KEY = 400
"""Maximum characters of a schedule's key, which is part of the keys of its jobs."""

SHORTEST = 0.1
"""Minimum seconds of an interval."""

_WINDOWS = (60.0, 3600.0, 86400.0, math.inf)


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule(NamedFields):
    """A declaration of when a task runs automatically: a cron or an interval.

    Attributes:
        cron: five fields (minute hour day month weekday), or six with seconds last; or a nickname such as "@daily"; see
            `crontab`.
        kwargs: arguments of every job that the schedule creates; they override the function's defaults.
        every: seconds between two ticks, or a timedelta, instead of `cron`; ticks are at whole multiples of it since
            the epoch, so that a restart does not shift them.
        key: the schedule's name, unique among all schedules; empty: the task's name.
        timezone: IANA name of the time zone of `cron`; None: WORKER_CRON_TIMEZONE.
        catch_up: what to do with ticks that no worker handled: "once", one job for all of them; "skip", no job, if the
            latest is more than MISSED seconds ago.
        overlap: what to do with a tick while the job of an earlier one waits or runs: "skip", create no job; "queue",
            create one.
        args: positional arguments, before `kwargs`; a task converts them to `kwargs`.
        monitor: URL that is pinged at the start and the end of its jobs, in the protocol of healthchecks.io; empty:
            none.

    Raises:
        ValueError: not a cron expression, or one that no date matches; both cron and every, or neither; an unknown zone
            or policy.
    """

    cron: str | None = None
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    every: float | dt.timedelta | None = None
    key: str = ""
    timezone: str | None = None
    catch_up: CatchUp = "once"
    overlap: Overlap = "skip"
    args: Sequence[Any] = ()
    monitor: str = dataclasses.field(default="", repr=False)

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.every is None):
            raise ValueError("a schedule has either a cron or an interval: cron='0 3 * * *' or every=60.0")
        if isinstance(self.every, dt.timedelta):
            object.__setattr__(self, "every", self.every.total_seconds())
        check_key(self.key, LONGEST_KEY)
        if self.catch_up not in ("once", "skip"):
            raise ValueError(f'catch_up must be "once" or "skip", not {self.catch_up!r}')
        if self.overlap not in ("skip", "queue"):
            raise ValueError(f'overlap must be "skip" or "queue", not {self.overlap!r}')
        if self.every is not None:
            _check_interval(self.every)
        check_monitor(self.monitor)
        if self.timezone is not None:
            _check_zone(self.timezone, self.cron)
        if self.cron is not None:
            object.__setattr__(self, "cron", _checked_cron(self.cron))

    @property
    def interval(self) -> float | None:
        """Seconds between two ticks; None for a cron."""
        return cast("float | None", self.every)

    @property
    def timing(self) -> str:
        """When it is due, as text that is different for different timings."""
        if self.cron is None:
            return f"every {self.interval} s"
        return f"{self.cron} {self.timezone}" if self.timezone else self.cron

    def next_tick(self, after: float, zone: dt.tzinfo) -> float:
        """The first tick after a time.

        Args:
            after: epoch seconds.
            zone: time zone of the cron, unless the schedule has its own.

        Returns:
            Epoch seconds, whole milliseconds.
        """
        if (interval := self.interval) is not None:
            # The quotient may be rounded to the tick at `after` itself.
            turn = math.floor(after / interval)
            while (tick := round(turn * interval, 3)) <= after:
                turn += 1
            return tick
        return next_match(self.cron or "", after, ZoneInfo(self.timezone) if self.timezone else zone)

    def latest_tick(self, first: float, until: float, zone: dt.tzinfo) -> float:
        """The latest tick between `first`, which is itself a tick, and `until`; epoch seconds.

        Searches back from the end in growing windows: after a long pause there may be very many ticks.
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


def job_prefix(schedule: str) -> str:
    """What the keys of the jobs of a schedule's ticks begin with; the tick follows, in epoch seconds."""
    return f"cron:{schedule}:"


def tick_of(job: str, schedule: str) -> float | None:
    """The tick of a job, in epoch seconds; None: it was not made by a tick of this schedule.

    Args:
        job: its key.
        schedule: key of the schedule.
    """
    prefix = job_prefix(schedule)
    try:
        return float(job.removeprefix(prefix)) if job.startswith(prefix) else None
    except ValueError:
        return None


def check_monitor(url: Any) -> None:
    """Raise if it is no URL to ping; empty: none.

    Raises:
        ValueError: without the URL, which is a secret.
    """
    if not isinstance(url, str) or (url and not re.match(r"https?://[^/\s]+", url)):
        raise ValueError("monitor takes a URL, such as monitor='https://hc-ping.com/...'")


def _check_zone(timezone: str, cron: str | None) -> None:
    if cron is None:
        raise ValueError("timezone goes with cron; an interval has none")
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise ValueError(f"{timezone!r} is not a time zone; give an IANA name such as 'Europe/Berlin'") from None


def _check_interval(every: Any) -> None:
    if isinstance(every, bool) or not isinstance(every, int | float):
        raise ValueError(f"every takes seconds, such as every=60.0, or a timedelta, not {every!r}")
    if not SHORTEST <= every < math.inf:
        raise ValueError(f"every must be at least {SHORTEST} seconds, not {every!r}")
    if every > LONGEST_TIME:
        raise ValueError(f"every must be at most {LONGEST_TIME:,} seconds, not {every!r}")


def _checked_cron(given: Any) -> str:
    """The cron in the form used to compute ticks; see `normalized`."""
    if isinstance(given, int | float | dt.timedelta):
        raise ValueError(f"cron takes an expression, {EXAMPLE}; for an interval give every={given!r}")
    if not isinstance(given, str):
        raise ValueError(f"cron takes an expression, {EXAMPLE}, not {given!r}")
    cron = normalized(given)
    if not croniter.is_valid(cron):
        raise ValueError(f"{given!r} is not a cron expression: {EXAMPLE}")
    try:
        next_match(cron, 0.0, dt.UTC)
    except CroniterError:
        raise ValueError(f"{given!r} never comes due: no date matches it") from None
    return cron
