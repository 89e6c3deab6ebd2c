"""Times as a form has them: what a clock shows, and the zone of the clock."""

import datetime as dt
import re
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_OFFSET: Final = re.compile(r"([+-])(\d\d):?(\d\d)")

_MILLISECOND: Final = 1000


def split(text: str) -> tuple[str, str] | None:
    """A time in RFC 3339 as a browser's field takes it, and its zone; None: the field cannot have it.

    >>> split("2026-05-01T09:00:00+02:00"), split("2026-05-01T07:00:00Z")
    (('2026-05-01T09:00:00', '+02:00'), ('2026-05-01T07:00:00', 'UTC'))
    """
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if found.microsecond % _MILLISECOND:
        return None
    wall = found.replace(tzinfo=None).isoformat(timespec="milliseconds" if found.microsecond else "seconds")
    if found.tzinfo is None:
        return wall, ""
    offset = found.isoformat()[-6:]
    return wall, "UTC" if offset == "+00:00" else offset


def joined(wall: str, zone: str) -> str:
    """The time in RFC 3339; of two times that a clock shows when it is set back, the first.

    >>> joined("2026-05-01T09:00", "Europe/Berlin")
    '2026-05-01T09:00:00+02:00'

    Raises:
        ValueError: there is no such time or zone.
    """
    try:
        clock = dt.datetime.fromisoformat(wall.strip())
    except ValueError:
        raise ValueError("must be a date and a time, such as 2026-05-01T09:00") from None
    if clock.tzinfo is not None:
        return clock.isoformat()
    if not zone.strip():
        return clock.isoformat()
    at = clock.replace(tzinfo=_zone(zone.strip()))
    try:
        shown = at.astimezone(dt.UTC).astimezone(at.tzinfo).replace(tzinfo=None)
    except OverflowError:
        return at.isoformat()
    if shown != clock:
        raise ValueError(f"no clock in {zone.strip()} shows this time: it was set forward")
    return at.isoformat()


def _zone(text: str) -> dt.tzinfo:
    if text.upper() in ("UTC", "Z"):
        return dt.UTC
    if found := _OFFSET.fullmatch(text):
        sign = -1 if found[1] == "-" else 1
        offset = sign * dt.timedelta(hours=int(found[2]), minutes=int(found[3]))
        if abs(offset) < dt.timedelta(days=1):
            return dt.timezone(offset)
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no zone {text[:40]!r}: give one such as UTC, Europe/Berlin or +02:00") from None
