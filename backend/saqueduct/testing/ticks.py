"""Ticks: the due times of a schedule."""

import datetime as dt
from typing import Any

from saqueduct.schedules.schedule import Schedule
from saqueduct.tasks.task import Task

BEFORE = 0.001
"""Seconds: ticks lie on whole milliseconds."""


def schedule_due(task: Task[..., Any], at: dt.datetime, timezone: dt.tzinfo) -> Schedule:
    """The schedule of a task that has a tick at that time.

    Args:
        task: a scheduled task.
        at: aware.
        timezone: in which workers read crons.

    Raises:
        ValueError: the task has no schedule, `at` is not aware, or no tick; then the message names the next one.
    """
    if not task.schedules:
        raise ValueError(f"{task.name} has no schedule")
    if at.tzinfo is None:
        raise ValueError(f"give an aware time, such as datetime(2030, 1, 1, 3, tzinfo=UTC), not {at!r}")
    moment = at.timestamp()
    following = {}
    for schedule in task.schedules:
        tick = schedule.next_tick(moment - BEFORE, timezone)
        if tick == moment:
            return schedule
        following[tick] = schedule
    first = min(following)
    found = dt.datetime.fromtimestamp(first, at.tzinfo)
    raise ValueError(
        f"{at} is no tick of {task.name} ({following[first].timing!r} in {timezone}); the next one is {found}"
    )
