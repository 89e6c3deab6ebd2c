"""Debounced tasks: the claim of their jobs, and what their calls do not take."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from saqueduct.errors import RegistrationError
from saqueduct.flow.debounce import Debounce
from saqueduct.tasks.canonical import digest
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import DEBOUNCE
from saqueduct.tasks.unique import Claim, Unique

WAITING = Unique(states=("queued",), on_conflict="replace")
"""A call takes the place of a job that waits, and of no other."""

_NOT_TAKEN = {
    "delay": "it starts after the wait of its debounce",
    "eta": "it starts after the wait of its debounce",
    "scheduled": "it starts after the wait of its debounce",
    "key": "several calls share a job, whose key is that of the first",
    "unique": "its debounce decides which of two calls counts",
}


def check_parameters(function: Callable[..., Any], debounce: Debounce | None, known: Collection[str]) -> None:
    """Check that a debounce names arguments of its task.

    Raises:
        RegistrationError: it does not.
    """
    if debounce is None:
        return
    if unknown := [name for name in debounce.parameters if name not in known]:
        raise RegistrationError(
            function,
            f"debounce names {', '.join(unknown)}, which are not arguments of the task "
            f"(there are: {', '.join(known) or 'none'})",
        )


def check_call(task: str, options: Mapping[str, Any]) -> None:
    """Check the options of a call of a debounced task.

    Raises:
        ValueError: one that it does not take; says why.
    """
    for name, why in _NOT_TAKEN.items():
        if options.get(name) not in (None, 0):
            raise ValueError(f"{name}: the task {task!r} is debounced, and takes none: {why}")


def debounce(job: EngineJob, debounce: Debounce, arguments: Mapping[str, Any]) -> None:
    """Let a new job take the place of one that waits for further calls.

    Args:
        job: the job.
        debounce: of its task.
        arguments: all its arguments as the declared types, omitted ones with their defaults.
    """
    names = debounce.parameters
    same = {name: arguments.get(name) for name in names} if names else arguments
    job.claim = Claim(f"{job.function}:{digest(same)}", WAITING, debounce)
    job.meta[DEBOUNCE] = [debounce.wait, debounce.max_wait or 0]


def debounce_of(job: EngineJob) -> Debounce | None:
    """The debounce of a job that is enqueued from the outbox; None: it has none."""
    entry = job.meta.get(DEBOUNCE)
    return Debounce(entry[0], entry[1] or None) if entry else None
