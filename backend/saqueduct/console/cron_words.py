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

_SHORT: Final = tuple(day[:3].lower() for day in DAYS)

_NAME = re.compile("|".join(_SHORT), re.IGNORECASE)
_RANGE = re.compile(r"([0-7])-([0-7])")
_LIST = re.compile(r"[0-7](,[0-7])*")
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
    if day == "*" and (named := _weekdays(weekday)):
        return named
    if day.isdecimal() and weekday == "*":
        return f"every month on day {int(day)}"
    return None


def _weekdays(field: str) -> str:
    """Days of the week, such as "every Monday and Friday"; empty: no simple words."""
    numbers = _NAME.sub(lambda found: str(_SHORT.index(found[0].lower())), field)
    if numbers == "1-5":
        return "every weekday"
    if found := _RANGE.fullmatch(numbers):
        return f"every {DAYS[int(found[1]) % 7]} to {DAYS[int(found[2]) % 7]}"
    if not _LIST.fullmatch(numbers):
        return ""
    *some, last = [DAYS[int(each) % 7] for each in numbers.split(",")]
    return f"every {', '.join(some)} and {last}" if some else f"every {last}"
