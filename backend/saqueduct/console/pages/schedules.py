"""Schedules: in words, their next ticks, run now, pausing and resuming."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency

from saqueduct.common.clock import time_now
from saqueduct.console.cron_words import in_words
from saqueduct.console.view import OPERATOR, View
from saqueduct.queue.schedule_states import ScheduleState
from saqueduct.schedules.schedule import Schedule

TICKS: Final = 5
"""Next ticks that are shown."""


class ShownSchedule(NamedTuple):
    """A schedule with its declaration."""

    state: ScheduleState
    schedule: Schedule
    words: str
    zone: str
    ticks: list[float]
    """The next ones in epoch seconds."""


class SchedulePages(Controller):
    """All schedules, and what can be done with one."""

    path = "/schedules"

    @get()
    async def all_of_them(self, view: NamedDependency[View]) -> Response[str]:
        """Every schedule of the tasks."""
        snapshot = await view.snapshot()
        shown = list(_shown(view, {state.key: state for state in snapshot.schedules}))
        return await view.page("schedules.html", schedules=shown)

    @post("/run", opt=OPERATOR)
    async def run(self, view: NamedDependency[View]) -> Response[Any]:
        """Make a job of a schedule now."""
        form = await view.form()
        key = form.text("schedule")
        job = await view.queues.trigger_schedule(key)
        if job.created:
            await view.note("trigger", "schedule", [key, job.key], task=job.function)
        said = f"Enqueued {job.key}." if job.created else f"The job {job.key} already exists."
        return view.done(said, form.text("back"))

    @post("/pause", opt=OPERATOR)
    async def pause(self, view: NamedDependency[View]) -> Response[Any]:
        """Let no tick of a schedule make a job."""
        form = await view.form()
        await view.queues.pause_schedule(form.text("schedule"), view.person.name, form.reason())
        await view.note("pause", "schedule", [form.text("schedule")], why=form.reason())
        return view.done(f"Paused the schedule {form.text('schedule')}. Its ticks are skipped.", form.text("back"))

    @post("/resume", opt=OPERATOR)
    async def resume(self, view: NamedDependency[View]) -> Response[Any]:
        """Let the ticks of a schedule make jobs again."""
        form = await view.form()
        if await view.queues.resume_schedule(form.text("schedule")):
            await view.note("resume", "schedule", [form.text("schedule")])
        return view.done(f"Resumed the schedule {form.text('schedule')} from its next tick on.", form.text("back"))


def _shown(view: View, states: dict[str, ScheduleState]) -> Iterator[ShownSchedule]:
    own_zone = view.saqueduct.config.cron_timezone
    for task in view.registry.get_all_tasks():
        for schedule in task.schedules:
            if (state := states.get(schedule.key)) is not None:
                zone = schedule.timezone or own_zone
                yield ShownSchedule(state, schedule, in_words(schedule), zone, _ticks(schedule, ZoneInfo(own_zone)))


def _ticks(schedule: Schedule, zone: ZoneInfo) -> list[float]:
    ticks, after = [], time_now()
    for _ in range(TICKS):
        after = schedule.next_tick(after, zone)
        ticks.append(after)
    return ticks
