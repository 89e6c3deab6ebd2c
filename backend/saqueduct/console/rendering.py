"""The templates: escaped always, and a name that is missing is an error."""

import datetime as dt
import functools
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from saqueduct.common.clock import time_now
from saqueduct.console.brief_arguments import brief_arguments
from saqueduct.console.sparklines import spark
from saqueduct.queue.redacted_view import brief_error

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from saqueduct.postgres.job_details import JobDetails

TEMPLATES: Final = Path(__file__).parent / "templates"

NONE: Final = "\N{EN DASH}"
"""Shown where there is no value."""

_UNITS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))

_CODE: Final = re.compile(r"``?([^`\n]+)``?")

EXACT: Final = 2**53 - 1
"""Whole numbers up to here are exact in JavaScript."""


@functools.cache
def environment() -> "Environment":
    """The console's own, apart from the templates of the application."""
    # Here: Jinja2 takes a while to import, and no other route needs it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        number=number,
        nodes=nodes,
        pretty=pretty,
        cut=cut,
        place=place,
        lasting=lasting,
        when=when,
        moment=moment,
        brief=brief,
        brief_arguments=brief_arguments,
        marked_up=marked_up,
        json=json_text,
        percent=percent,
        share=share,
        size=size,
        tick=tick,
        on_axis=on_axis,
        spark=spark,
    )
    return made


def number(value: float | None, cap: int | None = None) -> str:
    """A number with separators; with a cap that it has reached, "100,000+"."""
    if value is None:
        return NONE
    return f"{value:,}" + ("+" if cap is not None and value >= cap else "")


def percent(part: float, whole: float) -> int:
    """A part in whole percent, at most 100; 0 of nothing."""
    return min(100, round(100 * part / whole)) if whole else 0


def share(part: float, whole: float) -> str:
    """A part in percent, such as "0.2 %"; small ones are not rounded to nothing."""
    value = 100 * part / whole if whole else 0.0
    return "< 0.1 %" if 0 < value < 0.1 else f"{value:.1f} %" if value < 10 else f"{value:.0f} %"


def size(count: int) -> str:
    """Bytes, such as "128 MiB"; a dash for 0, which is unknown."""
    if not count:
        return NONE
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def lasting(seconds: float | None) -> str:
    """A duration, such as "1.2 s" or "3 h 5 min"."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    size, unit = next(each for each in _UNITS if seconds >= each[0])
    count, rest = divmod(seconds, size)
    smaller = _UNITS[_UNITS.index((size, unit)) + 1]
    less = math.floor(rest / smaller[0])
    return f"{count:.0f} {unit} {less} {smaller[1]}" if less else f"{count:.0f} {unit}"


def when(moment: dt.datetime | None) -> "str | Markup":
    """A time relative to now; the script shows it in the viewer's zone too."""
    if moment is None:
        return NONE
    seconds = moment.timestamp() - time_now()
    text = f"in {lasting(round(seconds))}" if seconds >= 1 else f"{lasting(max(1, round(-seconds)))} ago"
    return _time(moment, text, "relative")


def moment(moment: dt.datetime | None) -> "str | Markup":
    """A time in UTC; the script shows it in the viewer's zone where that is chosen."""
    if moment is None:
        return NONE
    return _time(moment, moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), "absolute")


MOST_NODES: Final = 2_000
"""Values of a JSON document that are shown folding."""

DEEPEST: Final = 50
"""Levels of a JSON document that is shown folding."""

MOST_TEXT: Final = 100_000
"""Characters of a text or a document that are shown."""


def nodes(value: Any) -> int:
    """How many values a JSON document has; more than MOST_NODES where it stops counting, or below DEEPEST levels."""
    count, waiting = 0, [(value, 1)]
    while waiting and count <= MOST_NODES:
        count += 1
        each, level = waiting.pop()
        inside = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        if inside and level >= DEEPEST:
            return MOST_NODES + 1
        waiting += [(value, level + 1) for value in inside]
    return count


def pretty(value: Any) -> str:
    """JSON over several lines, with all digits of a number, cut after MOST_TEXT characters."""
    text = msgspec.json.format(msgspec.json.encode(value)).decode()
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}\n… ({len(text):,} characters)"


def cut(text: str) -> str:
    """A text, cut after MOST_TEXT characters: the end of an error names the exception."""
    return text if len(text) <= MOST_TEXT else f"({len(text):,} characters) …\n{text[-MOST_TEXT:]}"


def tick(seconds: float | None) -> "dt.datetime | None":
    """Epoch seconds as a time."""
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC)


def on_axis(moment: dt.datetime, clock: str) -> "Markup":
    """A time below a chart in UTC; the script shows it in the viewer's zone.

    Args:
        moment: the time.
        clock: "clock" for hours and minutes, "day" for weekday and day, "date" for day and month.
    """
    return _time(moment, moment.strftime({"day": "%a %d", "date": "%d %b"}.get(clock, "%H:%M")), clock)


def _time(moment: dt.datetime, text: str, kind: str) -> "Markup":
    from markupsafe import Markup

    utc = moment.astimezone(dt.UTC)
    template = Markup('<time datetime="{}" data-time="{}" title="{}">{}</time>')
    return template.format(utc.isoformat(), kind, utc.strftime("%Y-%m-%d %H:%M:%S UTC"), text)


def marked_up(text: str) -> "Markup":
    """A docstring, in which what is between backticks is code."""
    from markupsafe import Markup

    parts = _CODE.split(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else Markup("{}").format(part)
        for number, part in enumerate(parts)
    )


def brief(error: str | None, most: int = 300) -> str:
    """An error in one line, for a table."""
    line = " ".join(brief_error(error).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def place(job: "JobDetails") -> str:
    """Queue and key of a job, as the value of a box that selects it."""
    return msgspec.json.encode((job.queue, job.key)).decode()


def json_text(value: Any) -> str:
    """JSON in one line, with all digits of a number."""
    return msgspec.json.encode(value).decode()
