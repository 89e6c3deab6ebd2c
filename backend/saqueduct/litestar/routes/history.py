"""The history of queues and tasks over HTTP."""

from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from saqueduct.litestar.routes.answers import VIEWER
from saqueduct.litestar.routes.times import Time, moment
from saqueduct.litestar.services import QueueServices
from saqueduct.postgres.time_steps import Point, Span, Total

Step = Annotated[
    int | None, QueryParameter(ge=60, le=30 * 86400, description="seconds of a point, whole minutes; chosen by default")
]


class SeriesView(msgspec.Struct):
    """Points of a time, oldest first, one for each step."""

    step: int
    """Seconds."""
    points: list[Point]


class HistoryController(Controller):
    """What happened to queues and tasks over time."""

    path = "/history"
    tags = ("History",)

    @get(**VIEWER, operation_id="show_history")
    async def series(
        self,
        services: NamedDependency[QueueServices],
        queue: FromQuery[str | None] = None,
        task: FromQuery[str | None] = None,
        since: Time = None,
        until: Time = None,
        step: Step = None,
    ) -> SeriesView:
        """Counts, and waits and durations with percentiles, for each step; of the last hour by default."""
        span = Span.of(moment("since", since), moment("until", until), step)
        async with services.time_series() as series:
            return SeriesView(span.step, await series.series(span, queue, task))

    @get("/tasks", **VIEWER, operation_id="list_history_of_tasks")
    async def tasks(
        self,
        services: NamedDependency[QueueServices],
        queue: FromQuery[str | None] = None,
        task: FromQuery[str | None] = None,
        since: Time = None,
        until: Time = None,
    ) -> list[Total]:
        """The sums of each task of each queue, the busiest first; of the last hour by default."""
        span = Span.of(moment("since", since), moment("until", until))
        async with services.time_series() as series:
            return await series.totals(span, queue, task)
