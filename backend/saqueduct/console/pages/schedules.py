"""Schedules: in words, their last runs and next ticks, run now, pausing and resuming."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency

from saqueduct.common.clock import time_now
from saqueduct.console.cron_words import in_words
from saqueduct.console.view import OPERATOR, View
from saqueduct.queue.schedule_states import ScheduleState
from saqueduct.schedules.schedule import Schedule, tick_of

if TYPE_CHECKING:
    from saqueduct.postgres.task_runs import Run

TICKS: Final = 5
"""Next ticks that are shown."""

RUNS: Final = 10
"""Last runs that are shown, between which ticks without a job are looked for."""

MOST_MISSED: Final = 100
"""Ticks without a job that are counted at most."""

Runs = Mapping[str, "Sequence[Run]"]
"""The last runs of each schedule, newest first."""


class ShownSchedule(NamedTuple):
    """A schedule with its declaration."""

    state: ScheduleState
    schedule: Schedule
    words: str
    zone: str
    ticks: list[float]
    """The next ones in epoch seconds."""
    runs: "Sequence[Run] | None"
    """The last ones, newest first; None: they are not known."""
    missed: list[float]
    """Ticks between these runs that have no job, in epoch seconds; MOST_MISSED at most."""


class SchedulePages(Controller):
    """All schedules, and what can be done with one."""

    path = "/schedules"

    @get()
    async def all_of_them(self, view: NamedDependency[View]) -> Response[str]:
        """Every schedule of the tasks."""
        snapshot = await view.snapshot()
        states = {state.key: state for state in snapshot.schedules}
        shown = list(_shown(view, states, await _last_runs(view, states)))
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


async def _last_runs(view: View, states: Mapping[str, ScheduleState]) -> Runs | None:
    """None: there is no PostgreSQL, it does not answer, or the search takes too long. The page shows the rest."""
    if not view.keeps_records or not states:
        return None
    # Here: SQLAlchemy takes a while to import, and not every application has a PostgreSQL.
    from saqueduct.postgres.outbox import DATABASE_AWAY
    from saqueduct.postgres.schedule_runs import last_runs
    from saqueduct.record_sessions import transaction

    store = view.saqueduct.store
    try:
        async with transaction(view.saqueduct) as session:
            schema = None if store is None else store.schema
            return await last_runs(session, list(states), RUNS, schema, patience=view.timings.runs)
    except DATABASE_AWAY:
        return None


def _shown(view: View, states: Mapping[str, ScheduleState], runs: Runs | None) -> Iterator[ShownSchedule]:
    own_zone = view.saqueduct.config.cron_timezone
    for task in view.registry.get_all_tasks():
        for schedule in task.schedules:
            if (state := states.get(schedule.key)) is None:
                continue
            mine = runs[schedule.key] if runs is not None else None
            yield ShownSchedule(
                state=state,
                schedule=schedule,
                words=in_words(schedule),
                zone=schedule.timezone or own_zone,
                ticks=_ticks(schedule, ZoneInfo(own_zone)),
                runs=mine,
                # Of other tasks, some runs leave no record.
                missed=missed_ticks(schedule, ZoneInfo(own_zone), mine or ()) if task.defaults.record == "all" else [],
            )


def _ticks(schedule: Schedule, zone: ZoneInfo) -> list[float]:
    ticks, after = [], time_now()
    for _ in range(TICKS):
        after = schedule.next_tick(after, zone)
        ticks.append(after)
    return ticks


def missed_ticks(schedule: Schedule, zone: ZoneInfo, runs: "Sequence[Run]") -> list[float]:
    """The ticks of a schedule between some of its runs that have no job, MOST_MISSED at most.

    Args:
        schedule: whose runs they are.
        zone: of crons without one of their own.
        runs: newest first; those that were started by hand do not count.
    """
    had = [tick for run in runs if (tick := tick_of(run.key, schedule.key)) is not None]
    if not had:
        return []
    missed: list[float] = []
    tick, end = min(had), max(had)
    while (tick := schedule.next_tick(tick, zone)) < end and len(missed) < MOST_MISSED:
        if tick not in had:
            missed.append(tick)
    return missed
