"""Limits for the times of a job: Redis accepts any number, Python and PostgreSQL have no year after 9999."""

import datetime as dt
import math
from typing import Any

from saqueduct.common.clock import time_now

LAST_SECOND = 253_402_300_799 - 86_400
"""Epoch seconds at the end of the year 9999, less one day, so that the time has a date in every zone."""

LONGEST_TIME = 100 * 31_557_600
"""The longest duration of an option, in seconds: a hundred years."""


def check_number(name: str, value: Any, least: float, most: float = LONGEST_TIME) -> None:
    """Check that an option is a number within its bounds.

    Raises:
        ValueError: it is not; names the option.
    """
    if isinstance(value, dt.timedelta):
        raise ValueError(f"{name} takes seconds, not {value!r}: give {value.total_seconds():g}")
    if not isinstance(value, int | float) or (isinstance(value, bool) and name != "retry_backoff"):
        raise ValueError(f"{name} must be a number, not {value!r}")
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, not {value!r}")
    if value > most:
        raise ValueError(f"{name} must be at most {most:,}, not {value!r}")


def check_delay(name: str, value: Any) -> None:
    """Check that an option is a number of seconds that ends before the year 10000. Raises as `check_number`."""
    check_number(name, value, 0, math.inf)
    if time_now() + value > LAST_SECOND:
        raise ValueError(f"{name} must end before the year 10000, not in {value!r} seconds")


def check_moment(name: str, value: Any) -> None:
    """Check that an option is an aware time before the year 10000 in UTC. Raises as `check_number`."""
    if not isinstance(value, dt.datetime) or value.tzinfo is None:
        raise ValueError(f"{name} must be an aware datetime, such as datetime.now(UTC), not {value!r}")
    if value.timestamp() > LAST_SECOND:
        raise ValueError(f"{name} must be before the year 10000 in UTC, not {value!r}")
