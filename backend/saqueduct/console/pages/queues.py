"""Queues: depth, latency, pausing and resuming."""

from collections.abc import Mapping
from typing import Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency

from saqueduct.common.clock import time_now
from saqueduct.console.charts import Chart, counts, durations
from saqueduct.console.trends import WINDOWS, Window, window_of
from saqueduct.console.view import OPERATOR, View
from saqueduct.postgres.time_steps import Trend


class QueuePages(Controller):
    """All queues, and what can be done with one."""

    path = "/queues"

    @get(opt={"query": ("span",)})
    async def all_of_them(self, view: NamedDependency[View]) -> Response[str]:
        """Every queue in numbers, and its throughput in the last hour, day or week."""
        window = window_of(view.request.query_params.get("span"))
        trends = await view.trends.read("queues", window, lambda series: series.trends(window.span(), "queue"))
        return await view.page(
            "queues.html", windows=WINDOWS, window=window, charts=None if trends is None else _charts(trends, window)
        )

    @post("/pause", opt=OPERATOR)
    async def pause(self, view: NamedDependency[View]) -> Response[Any]:
        """Let workers take no more jobs of a queue."""
        form = await view.form()
        queue = view.queues.look_up(form.text("queue"))
        await queue.pause(view.person.name, form.reason())
        await view.note("pause", "queue", [queue.name], queue=queue.name, why=form.reason())
        return view.done(f"Paused the queue {queue.name}. Running jobs go on.", form.text("back"))

    @post("/resume", opt=OPERATOR)
    async def resume(self, view: NamedDependency[View]) -> Response[Any]:
        """Let workers take jobs of a queue again."""
        form = await view.form()
        queue = view.queues.look_up(form.text("queue"))
        if was_paused := await queue.resume():
            await view.note("resume", "queue", [queue.name], queue=queue.name)
        text = f"Resumed the queue {queue.name}." if was_paused else f"The queue {queue.name} was not paused."
        return view.done(text, form.text("back"))


def _charts(trends: Mapping[str, Trend], window: Window) -> dict[str, list[Chart]]:
    """Throughput and wait of each queue that had jobs."""
    now = time_now()
    return {
        queue: [
            counts(f"ended-{number}", "Jobs ended", trend, window.step, ("complete", "failed", "aborted"), now),
            durations(f"wait-{number}", "Wait", trend, window.step, "wait"),
        ]
        for number, (queue, trend) in enumerate(trends.items())
    }
