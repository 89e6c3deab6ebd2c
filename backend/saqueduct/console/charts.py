"""Charts: the geometry of SVG drawings, which `templates/charts.html` writes.

A plot is 1000 units wide and 100 high and is stretched to its place, so that text is outside of it. Labels are evenly
spaced, because the policy of the pages allows no inline style that would place them.
"""

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from saqueduct.common.durations import Durations
from saqueduct.console.rendering import lasting
from saqueduct.console.sparklines import GAP, HEIGHT, WIDTH, Box
from saqueduct.postgres.time_steps import DAY, Trend

LABELS: Final = 4
"""Parts of the time axis; it has one label more."""

LEAST: Final = 1.5
"""Height of the smallest column, so that one failure among thousands is visible."""

Word = Literal["complete", "failed", "aborted", "retried", "enqueued", "p50", "p95", "p99"]

PERCENTILES: Final[tuple[Word, Word, Word]] = ("p50", "p95", "p99")


class Path(NamedTuple):
    """A line of a plot."""

    kind: str
    d: str


class Spot(NamedTuple):
    """A step, and what is said about it when it is pointed at."""

    x: float
    width: float
    at: dt.datetime
    text: str


class LegendLine(NamedTuple):
    """A line of the legend."""

    kind: str
    label: str
    figure: str


class Chart(NamedTuple):
    """A drawing with its labels.

    Attributes:
        name: for ids, unique on the page.
        title: what it shows.
        unit: of its figures.
        summary: the same in words, for those who do not see it.
        legend: its layers or lines, each with its figure of the whole time.
        ticks: labels of the vertical axis, from the top, evenly spaced.
        times: labels of the horizontal axis, evenly spaced.
        clock: how times are written: "clock" (14:05), "day" (Mon 23) or "date" (23 Nov).
        columns, paths, spots: what is drawn.
    """

    name: str
    title: str
    unit: str
    summary: str
    legend: Sequence[LegendLine]
    ticks: Sequence[str]
    times: Sequence[dt.datetime]
    clock: str
    columns: Sequence[Box] = ()
    paths: Sequence[Path] = ()
    spots: Sequence[Spot] = ()

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to draw."""
        return not (self.columns or self.paths)


def counts(name: str, title: str, trend: Trend, step: int, layers: Sequence[Word], now: float) -> Chart:
    """Columns of counts, stacked from the bottom.

    Args:
        name, title: see `Chart`.
        trend: what happened.
        step: seconds of a point.
        layers: fields of its points, the lowest first.
        now: epoch seconds: a step that is not over is drawn lighter.
    """
    rows = [[getattr(point, layer) for layer in layers] for point in trend.points]
    top = ceiling(max((sum(row) for row in rows), default=0))
    width = WIDTH / max(1, len(rows))
    columns = [
        box
        for number, (point, row) in enumerate(zip(trend.points, rows, strict=True))
        for box in _stack(number * width, width, row, layers, top, partial=point.at.timestamp() + step > now)
    ]
    sums = [getattr(trend.total, layer) for layer in layers]
    spots = [
        Spot(number * width, width, point.at, ", ".join(_counted(*pair) for pair in zip(row, layers, strict=True)))
        for number, (point, row) in enumerate(zip(trend.points, rows, strict=True))
    ]
    return Chart(
        name=name,
        title=title,
        unit=f"each {_each(step)}",
        summary=_said(trend, ", ".join(_counted(*pair) for pair in zip(sums, layers, strict=True))),
        legend=[LegendLine(layer, layer, f"{total:,}") for layer, total in zip(layers, sums, strict=True)],
        ticks=[short(top), short(top / 2), "0"],
        times=_times(trend, step),
        clock=_clock(trend),
        columns=columns,
        spots=spots,
    )


def durations(name: str, title: str, trend: Trend, step: int, field: Literal["wait", "run"]) -> Chart:
    """Lines of percentiles on a logarithmic scale: p50 and p99 are often far from each other.

    Args:
        name, title: see `Chart`.
        trend: what happened.
        step: seconds of a point.
        field: of its points.
    """
    found: list[Durations] = [getattr(point, field) for point in trend.points]
    lines = {each: [getattr(point, each) for point in found] for each in PERCENTILES}
    low, high = decades([value for line in lines.values() for value in line if value is not None])
    width = WIDTH / max(1, len(found))
    whole: Durations = getattr(trend.total, field)
    spots = [
        Spot(number * width, width, point.at, _percentiles(getattr(point, field)))
        for number, point in enumerate(trend.points)
    ]
    paths = [Path(each, d) for each in reversed(PERCENTILES) if (d := _line(lines[each], width, low, high))]
    return Chart(
        name=name,
        title=title,
        unit="log scale",
        summary=_said(trend, _percentiles(whole)),
        legend=[LegendLine(each, each, lasting(getattr(whole, each))) for each in PERCENTILES],
        ticks=[_seconds(10.0**power) for power in range(high, low - 1, -1)],
        times=_times(trend, step),
        clock=_clock(trend),
        paths=paths,
        spots=spots,
    )


def ceiling(value: float) -> int:
    """The end of an axis from 0 whose half is a whole number.

    >>> [ceiling(value) for value in (0, 1, 7, 45, 1234)]
    [2, 2, 8, 50, 2000]
    """
    size = int(10 ** math.floor(math.log10(max(1.0, value))))
    ends = (part * size for part in (1, 2, 3, 4, 5, 6, 8, 10))
    return next(end for end in ends if end >= value and end % 2 == 0)


def decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten below and above all values.

    >>> decades([0.004, 3.0])
    (-3, 1)
    """
    known = [max(value, 1e-4) for value in values]
    if not known:
        return -3, 0
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    return low, max(high, low + 1)


def short(number: float) -> str:
    """A count as an axis shows it.

    >>> [short(number) for number in (40, 1500, 2_000_000)]
    ['40', '1.5k', '2M']
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def _stack(
    x: float, width: float, row: Sequence[int], layers: Sequence[Word], top: float, *, partial: bool
) -> Iterator[Box]:
    y = HEIGHT
    for value, layer in zip(row, layers, strict=True):
        if value:
            height = max(LEAST, value / top * HEIGHT)
            y -= height
            kind = f"{layer} partial" if partial else layer
            shape = (x + width * GAP / 2, max(0.0, y), width * (1 - GAP), height)
            yield Box(kind, *(round(each, 2) for each in shape))


def _line(values: Sequence[float | None], width: float, low: int, high: int) -> str:
    """The path of a line; where there is no value it is interrupted."""
    parts: list[str] = []
    before = False
    for number, value in enumerate(values):
        if value is not None:
            y = HEIGHT - (math.log10(max(value, 10.0**low)) - low) / (high - low) * HEIGHT
            lonely = not before and (number + 1 == len(values) or values[number + 1] is None)
            parts.append(f"{'L' if before else 'M'}{(number + (0 if lonely else 0.5)) * width:.1f} {y:.1f}")
            if lonely:
                parts.append(f"h{width:.1f}")
        before = value is not None
    return "".join(parts)


def _times(trend: Trend, step: int) -> list[dt.datetime]:
    if not trend.points:
        return []
    first, count = trend.points[0].at, len(trend.points)
    if _clock(trend) == "date":
        # Of the days at those places: the end of the axis is the beginning of tomorrow.
        return [trend.points[min(count - 1, count * part // LABELS)].at for part in range(LABELS + 1)]
    length = step * count
    return [first + dt.timedelta(seconds=length * part // LABELS) for part in range(LABELS + 1)]


def _clock(trend: Trend) -> str:
    days = (trend.points[-1].at - trend.points[0].at).total_seconds() / DAY if trend.points else 0
    return "date" if days > 8 else "day" if days > 1 else "clock"


def _said(trend: Trend, what: str) -> str:
    if not trend.points:
        return what
    first, last = (f"{trend.points[place].at:%Y-%m-%d %H:%M}" for place in (0, -1))
    return f"From {first} to {last} UTC: {what}."


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}"


def _percentiles(found: Durations) -> str:
    if not found.count:
        return "no attempts"
    return ", ".join(f"{each} {lasting(getattr(found, each))}" for each in PERCENTILES)


def _seconds(value: float) -> str:
    return f"{value * 1000:g} ms" if value < 1 else f"{value:g} s"


def _each(step: int) -> str:
    return {60: "minute", 3600: "hour", DAY: "day"}.get(
        step, f"{step // 60} min" if step < 3600 else f"{step // 3600} h"
    )
