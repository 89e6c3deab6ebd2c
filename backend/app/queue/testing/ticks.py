"""Ticks: the due times of a schedule."""

import datetime as dt
from typing import Any

from croniter import croniter

from app.queue.schedule import Schedule
from app.queue.task import Task


def schedule_due(task: Task[..., Any], at: dt.datetime, timezone: dt.tzinfo) -> Schedule:
    """The schedule of a task that has a tick at that time.

    Args:
        task: a scheduled task.
        at: aware.
        timezone: in which workers read crons.

    Raises:
        ValueError: the task has no schedule, `at` is not aware, or no tick; then the message tells the next one.
    """
    if task.schedule is None:
        raise ValueError(f"{task.name} has no schedule")
    if at.tzinfo is None:
        raise ValueError(f"give an aware time, such as datetime(2030, 1, 1, 3, tzinfo=UTC), not {at!r}")
    next_tick = _next_tick(task.schedule.cron, at - dt.timedelta(seconds=1), timezone)
    if next_tick != at:
        raise ValueError(
            f"{at} is no tick of {task.name} ({task.schedule.cron!r} in {timezone}); the next one is {next_tick}"
        )
    return task.schedule


def _next_tick(cron: str, after: dt.datetime, timezone: dt.tzinfo) -> dt.datetime:
    found: dt.datetime = croniter(cron, after.astimezone(timezone)).get_next(dt.datetime)
    return found
