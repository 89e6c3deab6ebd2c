"""Many jobs of a task in one request: all of them, or none."""

import itertools
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from litestar.exceptions import ValidationException

from saqueduct.errors import InvalidArguments
from saqueduct.litestar.idempotency import IdempotentRequest
from saqueduct.litestar.links import JobLinks
from saqueduct.litestar.routes.answers import EnqueuedJob
from saqueduct.litestar.routes.enqueuing import EnqueueQuery, arguments_of, with_options
from saqueduct.queue.queues import Queues
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.task import Task

LARGEST_BATCH: Final = 10_000
"""Jobs that one request may enqueue."""


class EnqueuedOne(EnqueuedJob):
    """One job of a batch."""

    location: str = ""
    """Where to find it."""


class EnqueuedBatch(msgspec.Struct):
    """Answer of a route that enqueued many jobs, in the order of their arguments."""

    jobs: list[EnqueuedOne]


async def batch(
    task: Task[..., Any], content: Any, query: EnqueueQuery, queues: Queues, links: JobLinks
) -> EnqueuedBatch:
    """Enqueue a job for each set of arguments, if all of them fit.

    A key is that of all: the jobs have it with their place, `import:0`, `import:1` and so on.

    Raises:
        RequestRefused, QueueUnavailable: see `IdempotentRequest.once`.
        ValidationException: the body is no array of objects, or longer than LARGEST_BATCH.
        InvalidArguments: some do not fit; names their places and what is wrong.
    """
    if not isinstance(content, list) or len(content) > LARGEST_BATCH:
        raise ValidationException(f"the body must be a JSON array of up to {LARGEST_BATCH:,} objects of arguments")
    queue = queues.get(task.queue_name)
    tasks = _tasks(task, query, len(content))
    jobs: list[EngineJob] = []
    problems: dict[str, str] = {}
    for place, (each, one) in enumerate(zip(tasks, content, strict=True)):
        try:
            jobs.append(each.job(arguments_of(one, task.name), limit=queue.max_payload_bytes))
        except InvalidArguments as error:
            problems |= {f"[{place}].{name}": problem for name, problem in error.problems.items()}
    if problems:
        raise InvalidArguments(task.name, problems)
    if not query.idempotent or query.key is None:
        answers, is_first = await queue.enqueue_many(jobs), True
    else:
        request = IdempotentRequest.of(queue, task, query.key, content, query.options(), links)
        answers, is_first = await request.once(lambda: queue.enqueue_many(jobs))
    return EnqueuedBatch(
        [
            EnqueuedOne(
                each.key,
                each.created and is_first,
                location=links.address(queue.name, each.key, created=each.created),
            )
            for each in answers
        ]
    )


def _tasks(task: Task[..., Any], query: EnqueueQuery, count: int) -> Iterable[Task[..., Any]]:
    if query.key is None:
        return itertools.repeat(with_options(task, query), count)
    keys = (f"{query.key}:{place}" for place in range(count))
    return (with_options(task, msgspec.structs.replace(query, key=key)) for key in keys)
