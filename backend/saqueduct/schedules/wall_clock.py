"""The times of a cron in a time zone with daylight saving time.

The rules are those of Debian's cron (cron(8), "daylight saving time"): a cron with fixed times runs once a day even
when the clocks change; a cron whose minute or hour begins with `*` runs by elapsed time.

- Forward, 02:00 to 03:00: a fixed 02:30 runs at 03:00; `30 * * * *` at 01:30 and 03:30, which are an hour apart.
- Back, 03:00 to 02:00: a fixed 02:30 runs at the first 02:30 only; `30 * * * *` at both.
"""

import datetime as dt

from croniter import croniter

_STEP = dt.timedelta(days=7)
"""Shorter than the time between two clock changes of any zone."""

_EXACT = dt.timedelta(seconds=1)


def next_match(cron: str, after: float, zone: dt.tzinfo) -> float:
    """The first time after `after` that matches a cron; both epoch seconds.

    Raises:
        CroniterError: no date matches.
    """
    start = dt.datetime.fromtimestamp(after, dt.UTC)
    minute, hour = cron.split()[:2]
    passing = minute.startswith("*") or hour.startswith("*")
    found = _passing(cron, start, zone) if passing else _fixed(cron, start, zone)
    return found.timestamp()


def _fixed(cron: str, start: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    wall = _wall(start, zone)
    while True:
        wall = _next_wall(cron, wall)
        # The first of two equal wall times; for a skipped one, the moment by the clock before the change.
        moment = wall.replace(tzinfo=zone, fold=0).astimezone(dt.UTC)
        if _wall(moment, zone) != wall:
            moment = _change(moment - dt.timedelta(days=1), moment, zone)
        if moment > start:
            return moment


def _passing(cron: str, start: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """Compute the cron with one UTC offset until that offset changes, and from there with the next one."""
    wall = _wall(start, zone)
    while True:
        offset = _offset(start, zone)
        found = (_next_wall(cron, wall) - offset).replace(tzinfo=dt.UTC)
        changed = _first_change(start, found, zone)
        if changed is None:
            return found
        start = changed
        # The change itself may match.
        wall = _wall(start, zone) - dt.timedelta(microseconds=1)


def _first_change(start: dt.datetime, end: dt.datetime, zone: dt.tzinfo) -> dt.datetime | None:
    """The first moment in (start, end] whose offset differs from that of `start`."""
    offset = _offset(start, zone)
    while start < end:
        step = min(start + _STEP, end)
        if _offset(step, zone) != offset:
            return _change(start, step, zone)
        start = step
    return None


def _change(start: dt.datetime, end: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """The moment between `start` and `end` when the offset changes; clocks change at whole seconds."""
    offset = _offset(start, zone)
    start = start.replace(microsecond=0)
    while end - start > _EXACT:
        middle = start + dt.timedelta(seconds=(end - start) // _EXACT // 2)
        if _offset(middle, zone) == offset:
            start = middle
        else:
            end = middle
    return end.replace(microsecond=0)


def _offset(moment: dt.datetime, zone: dt.tzinfo) -> dt.timedelta:
    return moment.astimezone(zone).utcoffset() or dt.timedelta(0)


def _wall(moment: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _next_wall(cron: str, wall: dt.datetime) -> dt.datetime:
    found: dt.datetime = croniter(cron, wall).get_next(dt.datetime)
    return found
