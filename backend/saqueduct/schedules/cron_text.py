"""Cron expressions as users write them, converted to the five or six fields that schedules are computed from."""

import re
from collections.abc import Iterable

WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""The nicknames of cron(5) for common schedules."""

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")

_MONTH_FIELD, _DAY_FIELD = 3, 4

_VALUES = {"minute": 60, "hour": 24, "day": 31, "month": 12, "weekday": 7, "second": 60}
"""How many values each field has, in their order."""

_STEP = re.compile(r"/(\d+)")
_NAME = re.compile(r"[a-z]+", re.IGNORECASE)
_RANDOM = re.compile(r"(?<![a-z])[rh](?![a-z])", re.IGNORECASE)

EXAMPLE = 'five fields, minute hour day month weekday, such as "0 3 * * *" for every day at 03:00'

CronField = int | str | Iterable[int | str]
"""One field of a cron: a number, text in cron syntax such as "*/15" or "monday-friday", or several of those."""


def crontab(
    *,
    minute: CronField = "*",
    hour: CronField = "*",
    day_of_month: CronField = "*",
    month_of_year: CronField = "*",
    day_of_week: CronField = "*",
) -> str:
    """A cron expression from named fields, with the names and defaults of Celery's `crontab`.

    >>> crontab(minute=30, hour="9-17", day_of_week="monday-friday")
    '30 9-17 * * mon-fri'
    >>> crontab(minute=0, hour=[6, 18])
    '0 6,18 * * *'

    Raises:
        ValueError: see `normalized`.
    """
    fields = (minute, hour, day_of_month, month_of_year, day_of_week)
    return normalized(" ".join(str(f) if isinstance(f, int | str) else ",".join(map(str, f)) for f in fields))


def normalized(cron: str) -> str:
    """A cron with five fields, or six with seconds last, without nicknames and with short names.

    >>> normalized("@daily"), normalized("0 9 * january monday-friday")
    ('0 0 * * *', '0 9 * jan mon-fri')

    Raises:
        ValueError: an unknown nickname, a wrong number of fields, or a field with a random value or a step that is
            larger than the field.
    """
    if cron.startswith("@"):
        return _word(cron)
    fields = cron.split()
    if len(fields) == 7:
        raise ValueError(f"{cron!r} has a seventh field, a year, which schedules do not have: leave it out")
    if len(fields) not in (5, 6):
        raise ValueError(f"{cron!r} is not a cron expression: {EXAMPLE}")
    if any(map(_RANDOM.search, fields)):
        raise ValueError(
            f"{cron!r} draws a value at random (R or H), which would differ in each process: write the value itself"
        )
    for field, (name, values) in zip(fields, _VALUES.items(), strict=False):
        for step in map(int, _STEP.findall(field)):
            if step > values:
                raise ValueError(
                    f"{cron!r}: a step of {step} is more than the {values} values of the {name}, so that it would "
                    "only select the first of them: for such a period use every=, in seconds"
                )
    fields[_MONTH_FIELD] = _short(fields[_MONTH_FIELD], _MONTHS)
    fields[_DAY_FIELD] = _short(fields[_DAY_FIELD], _DAYS)
    return " ".join(fields)


def _word(cron: str) -> str:
    if cron == "@reboot":
        raise ValueError("'@reboot' is not supported: enqueue a job when the application starts")
    try:
        return WORDS[cron.lower()]
    except KeyError:
        raise ValueError(f"{cron!r} is not a cron expression: there are {', '.join(WORDS)}, or {EXAMPLE}") from None


def _short(field: str, names: Iterable[str]) -> str:
    """A field with the names of months or days shortened to cron's three letters; other text is unchanged."""
    short = {name: name[:3] for name in names}
    return _NAME.sub(lambda found: short.get(found[0].lower(), found[0]), field)
