"""Times and durations as people write them (`2026-05-01T09:00`, `90s`, `1h30m`, `7d`), and as epoch milliseconds."""

import datetime as dt
import re

EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)

CLOCKS = dt.timedelta(seconds=10)
"""By how much the clocks of two machines may differ, such as those of Redis and PostgreSQL."""

UNITS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

_DURATION = re.compile(r"(?:\d++(?:\.\d++)?(?:ms|[wdhms]))++")
"""Possessive, so that the time for a long text without a unit does not grow with its square."""

_NUMBER = re.compile(r"[-+]?[\d_.]+(e[-+]?\d+)?", re.IGNORECASE)


def seconds_of(text: str) -> float | None:
    """Seconds of `90s`, `1h30m`, `7d`; None if it is not a duration."""
    if not _DURATION.fullmatch(text):
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[wdhms])", text)
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def moment_of(text: str, zone: dt.tzinfo | None) -> dt.datetime:
    """Parse a time: a duration before now, or ISO 8601. A bare number is neither.

    Args:
        text: as the user wrote it.
        zone: for a time without a zone; None: the zone of this machine.

    Raises:
        ValueError: it is not a time; the message says what is valid.
    """
    try:
        if (seconds := seconds_of(text)) is not None:
            return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
        if not _NUMBER.fullmatch(text):
            moment = dt.datetime.fromisoformat(text)
            return (moment if moment.tzinfo or zone is None else moment.replace(tzinfo=zone)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{text!r} is neither a duration before now such as 2h or 7d nor a time such as 2026-05-01T09:00")


def moment_at(milliseconds: int) -> dt.datetime:
    """The time of these epoch milliseconds."""
    return EPOCH + dt.timedelta(milliseconds=milliseconds)


def milliseconds(moment: dt.datetime | None) -> int:
    """Epoch milliseconds; 0 for none."""
    return 0 if moment is None else round((moment - EPOCH) / dt.timedelta(milliseconds=1))
