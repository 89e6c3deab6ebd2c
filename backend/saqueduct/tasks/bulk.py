"""Calls of tasks, and enqueuing many of them together."""

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from saq import Job

from saqueduct.common.garbage_collection import listed
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.tasks.handle import JobHandle, handle_of
from saqueduct.tasks.queues import TaskQueues, current_queues

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

R = TypeVar("R")


@dataclasses.dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """A validated call of a task, not enqueued yet. Made by `Task.bind`."""

    task: TaskDefinition
    job: Job


Progress = Callable[[int, int], None]
"""Called with the number of items done, and the total."""


def bind(task: TaskDefinition, arguments: Mapping[str, Any]) -> Call[Any]:
    """A call of a task with arguments by parameter name; see `Task.bind`."""
    limit = current_queues().get(task.queue_name).max_payload_bytes
    return Call(task, task.job(arguments, limit=limit))


async def enqueue_many(calls: Iterable[Call[R]], *, progress: Progress | None = None) -> list[JobHandle[R]]:
    """Enqueue many jobs in few round trips.

        handles = await enqueue_many(send_email.bind(to=to, subject="Hi", body="...") for to in addresses)

    Args:
        calls: of one task or several.
        progress: called after each round trip with the number of jobs sent so far, and the total.

    Returns:
        Handles in the order of the calls; if a job with the same `key` or unique arguments already exists, the handle
        of that older job.

    Raises:
        DuplicateJob: a unique job with `on_conflict="raise"` already exists; the others are enqueued.
        QueueUnavailable: Redis did not answer; some jobs may have been enqueued.
        ConfigurationError: a queue does not exist, or the queues of this process have not been started.
    """
    return await _enqueue(current_queues(), listed(calls), progress)


async def _enqueue(queues: TaskQueues, calls: list[Call[R]], progress: Progress | None) -> list[JobHandle[R]]:
    together: dict[tuple[str, int], tuple[AsyncSession | None, list[int]]] = {}
    for task, alike in groupby(range(len(calls)), lambda place: calls[place].task):
        session = task.call_options.session
        together.setdefault((task.queue_name, id(session)), (session, []))[1].extend(alike)
    targets = {name: queues.get(name) for name, _ in together}
    handles: dict[int, JobHandle[R]] = {}
    # In a fixed order of queues, because the outbox writes the jobs of each queue in a fixed order of keys.
    for (name, _), (session, places) in sorted(together.items(), key=lambda item: item[0][0]):
        sent = len(handles)
        report = (lambda count, sent=sent: progress(sent + count, len(calls))) if progress else None
        answers = await targets[name].enqueue_many([calls[place].job for place in places], report, session)
        made: Iterable[JobHandle[R]] = (
            handle_of(calls[place].task, calls[place].job, targets[name], answer)
            for place, answer in zip(places, answers, strict=True)
        )
        handles.update(zip(places, listed(made), strict=True))
    return [handles[place] for place in range(len(calls))]


async def results(handles: Sequence[JobHandle[R]], progress: Progress | None = None) -> list[R]:
    """Wait for all jobs, and return their results in order.

    Args:
        handles: of the jobs.
        progress: called each time a job ends, with the number of ended jobs, and the total.

    Raises:
        JobFailed, JobAborted, JobNotFound: for the first job without a result; the others continue.
    """
    waiting = [asyncio.ensure_future(handle.result()) for handle in handles]
    try:
        for done, each in enumerate(asyncio.as_completed(waiting), 1):
            await each
            if progress:
                progress(done, len(waiting))
    finally:
        for each in waiting:
            each.cancel()
    return [each.result() for each in waiting]
