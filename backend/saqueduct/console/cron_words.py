"""A schedule in words, where its cron is one of the usual forms."""

import re
from typing import Final

from saqueduct.console.rendering import lasting
from saqueduct.schedules.schedule import Schedule

DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")

MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

_STEP = re.compile(r"\*/(\d+)")


def in_words(schedule: Schedule) -> str:
    """When a schedule is due, such as "every day at 03:00"; the cron itself where there are no simple words.

    >>> in_words(Schedule(cron="0 3 * * 1"))
    'every Monday at 03:00'
    """
    if schedule.interval is not None:
        return f"every {lasting(schedule.interval)}"
    cron = schedule.cron or ""
    fields = cron.split()
    if len(fields) == 6 and fields.pop(5) != "0":
        return cron
    minute, hour, day, month, weekday = fields
    time = _time(minute, hour)
    dates = _days(day, month, weekday)
    if not time or dates is None:
        return cron
    if not dates:
        return time if time.startswith("every") else f"every day {time}"
    return f"{dates} {time}" if not time.startswith("every") else f"{time} on {dates.removeprefix('every ')}"


def _time(minute: str, hour: str) -> str:
    if minute.isdecimal() and hour.isdecimal():
        return f"at {int(hour):02}:{int(minute):02}"
    if minute.isdecimal() and hour == "*":
        return "every hour, on the hour" if int(minute) == 0 else f"every hour at minute {int(minute)}"
    if minute.isdecimal() and (step := _STEP.fullmatch(hour)):
        return f"every {step[1]} hours at minute {int(minute)}"
    if hour != "*":
        return ""
    if minute == "*":
        return "every minute"
    step = _STEP.fullmatch(minute)
    return f"every {step[1]} minutes" if step else ""


def _days(day: str, month: str, weekday: str) -> str | None:
    """The days; empty: all, None: no simple words."""
    if month != "*":
        if not (month.isdecimal() and day.isdecimal() and weekday == "*"):
            return None
        return f"every {MONTHS[int(month) - 1]} {int(day)}"
    if day == "*" and weekday == "*":
        return ""
    if day == "*" and weekday == "1-5":
        return "every weekday"
    if day == "*" and weekday.isdecimal():
        return f"every {DAYS[int(weekday) % 7]}"
    if day.isdecimal() and weekday == "*":
        return f"every month on day {int(day)}"
    return None
