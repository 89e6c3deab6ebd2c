"""The overview: what is wrong now, and the queues in numbers."""

from collections.abc import Iterable

from litestar import Response, get
from litestar.di import NamedDependency

from saqueduct.console.view import View
from saqueduct.postgres.record_filter import MOST_DEAD_LETTERS
from saqueduct.queue.schedule_states import ScheduleState


@get("/")
async def overview(view: NamedDependency[View]) -> Response[str]:
    """What is wrong, queues, dead letters."""
    snapshot = await view.snapshot()
    return await view.page("overview.html", most_dead=MOST_DEAD_LETTERS, upcoming=_upcoming(snapshot.schedules))


def _upcoming(schedules: Iterable[ScheduleState], most: int = 5) -> list[ScheduleState]:
    """The schedules whose ticks are next."""
    due = [each for each in schedules if each.next_tick is not None and each.paused is None]
    return sorted(due, key=lambda each: each.next_tick or 0.0)[:most]
