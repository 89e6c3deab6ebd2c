"""The overview: what is wrong now, the queues in numbers, and the last hour, day or week in charts."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from litestar import Response, get
from litestar.di import NamedDependency

from saqueduct.console.charts import Chart, counts, durations
from saqueduct.console.sampler import Snapshot
from saqueduct.console.trends import HOURLY, WINDOWS, Window, window_of
from saqueduct.console.view import View
from saqueduct.postgres.record_filter import MOST_DEAD_LETTERS
from saqueduct.postgres.time_steps import HOUR, Total, Trend
from saqueduct.queue.schedule_states import ScheduleState

BUSIEST = 8
"""Tasks that are listed."""


class Happened(NamedTuple):
    """What happened in a time."""

    trend: Trend
    busiest: Sequence[Total]
    """The first tasks, the busiest first."""
    tasks: int
    """All tasks of which a job ran."""


@get("/", opt={"query": ("span",)})
async def overview(view: NamedDependency[View]) -> Response[str]:
    """What is wrong, queues, charts, dead letters."""
    window = window_of(view.request.query_params.get("span"))
    # Longer times by the hour: the sums of many tasks are made of fewer rows.
    summed = window.span(window.step if window is HOURLY else HOUR)
    snapshot, trend, totals = await asyncio.gather(
        view.snapshot(),
        view.trends.read("overview", window, lambda series: series.trend(window.span())),
        view.trends.read("busiest", window, lambda series: series.totals(summed)),
    )
    happened = None if trend is None or totals is None else Happened(trend, totals[:BUSIEST], len(totals))
    return await view.page(
        "overview.html",
        most_dead=MOST_DEAD_LETTERS,
        upcoming=_upcoming(snapshot.schedules),
        windows=WINDOWS,
        window=window,
        happened=happened,
        charts=None if happened is None else _charts(happened.trend, window, snapshot),
    )


def _charts(trend: Trend, window: Window, snapshot: Snapshot) -> list[Chart]:
    step, now = window.step, snapshot.at
    return [
        counts("throughput", "Jobs ended", trend, step, ("complete", "failed", "aborted"), now),
        counts("failures", "Failures", trend, step, ("failed", "retried"), now),
        durations("wait", "Wait", trend, step, "wait"),
        durations("run", "Run time", trend, step, "run"),
    ]


def _upcoming(schedules: Iterable[ScheduleState], most: int = 5) -> list[ScheduleState]:
    """The schedules whose ticks are next."""
    due = [each for each in schedules if each.next_tick is not None and each.paused is None]
    return sorted(due, key=lambda each: each.next_tick or 0.0)[:most]
