"""Tasks whose newest job wins: `Unique(on_conflict="cancel")`. A limit keeps two of its jobs from running at once."""

import dataclasses
from collections.abc import Iterable

from saq import Job

from saqueduct.flow.limits import LONGEST_NAME, Concurrency
from saqueduct.tasks.job_meta import LIMITS
from saqueduct.tasks.options import TaskOptions
from saqueduct.tasks.unique import Unique

SUFFIX = ": newest"
"""Of the name of that limit, after the task's."""


def with_limit(task: str, options: TaskOptions, parameters: Iterable[str]) -> TaskOptions:
    """The options of a task, with that limit if its newest job wins.

    Args:
        task: its name.
        options: as declared.
        parameters: the names of all its arguments.

    Raises:
        ValueError: the name of the task is too long for that of a limit.
    """
    if options.unique is None or options.unique.on_conflict != "cancel":
        return options
    if len(task) > (most := LONGEST_NAME - len(SUFFIX)):
        raise ValueError(
            f'unique: on_conflict="cancel" takes a task name of at most {most} characters, and {task[:40]!r}... has '
            f"{len(task)}: give the task a shorter name="
        )
    one_at_a_time = Concurrency(1, by=tuple(options.unique.by or parameters), name=task + SUFFIX)
    return dataclasses.replace(options, limits=(*options.limits, one_at_a_time))


def is_its_limit(name: str, task: str, options: TaskOptions) -> bool:
    """True if a name is that of this limit of a task."""
    return name == task + SUFFIX and options.unique is not None and options.unique.on_conflict == "cancel"


def gate_of(job: Job) -> str:
    """Name and key of that limit of a job, as `lua/limits.lua` names gates; empty: its task has none."""
    for name, key, _ in job.meta.get(LIMITS) or ():
        if name == job.function + SUFFIX:
            return f"{name}\t{key}"
    return ""


def restored(unique: Unique, job: Job) -> Unique:
    """The `Unique` of a row of the outbox, see `Claim.described`."""
    if unique.on_conflict == "replace" and gate_of(job):
        return dataclasses.replace(unique, on_conflict="cancel")
    return unique
