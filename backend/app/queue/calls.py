"""Calls of tasks, and many of them enqueued at once."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from saq import Job

from app.queue.engine.job import Enqueued
from app.queue.engine.queues import Queues
from app.queue.handle import JobHandle
from app.queue.payload import decode_result

if TYPE_CHECKING:
    from app.queue.engine.queue import EngineQueue
    from app.queue.task import Task

R = TypeVar("R")


@dataclasses.dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """A validated call of a task, not enqueued yet. Made by `Task.bind`."""

    task: "Task[Any, R]"
    job: Job


async def enqueue_many(calls: Iterable[Call[R]]) -> list[JobHandle[R]]:
    """Enqueue many jobs in few round trips.

        handles = await enqueue_many(send_email.bind(to=to, subject="Hi", body="...") for to in addresses)

    Returns:
        Handles in the order of the calls; for a `key` that is waiting or running already, that older job's.

    Raises:
        QueueUnavailable: Redis did not answer; a part may have been enqueued.
        ConfigurationError: a queue does not exist, or the queues of this process have not been started.
    """
    queues = Queues.current()
    calls = list(calls)
    by_queue: dict[str, list[Job]] = {}
    for call in calls:
        by_queue.setdefault(call.task.queue_name, []).append(call.job)
    targets = {name: queues.get(name) for name in by_queue}
    standing: dict[int, Enqueued] = {}
    for name, jobs in by_queue.items():
        answers = await targets[name].enqueue_many(jobs)
        standing.update((id(job), answer) for job, answer in zip(jobs, answers, strict=True))
    return [_handle(call, targets[call.task.queue_name], standing[id(call.job)]) for call in calls]


def _handle(call: Call[R], queue: "EngineQueue", stands: Enqueued) -> JobHandle[R]:
    convert = functools.partial(decode_result, call.task.signature.returns)
    return JobHandle(queue, stands.key, convert, call.job if stands.created else None, created=stands.created)
