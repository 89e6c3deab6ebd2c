"""Mode `inline`: an enqueued job runs to its end before the call of enqueue returns."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from saq import Job
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.postgres.publisher import Publisher
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.job import Enqueued

Follow = Callable[[str, Sequence[str]], Awaitable[None]]
"""Called with a queue's name and the keys of the jobs that were just enqueued there."""


@contextmanager
def enqueues_followed_by(follow: Follow) -> Iterator[None]:
    """Call `follow` after each enqueue of this process, during a block.

    The class is patched, not an object: applications under test build queues of their own.
    """
    enqueue, enqueue_many = EngineQueue.enqueue, EngineQueue.enqueue_many
    publish = Publisher.committed

    async def enqueue_and_follow(queue: EngineQueue, job_or_func: str | Job, /, **kwargs: Any) -> Job | None:
        job = await enqueue(queue, job_or_func, **kwargs)
        if job is not None:
            await follow(queue.name, [job.key])
        return job

    async def enqueue_many_and_follow(
        queue: EngineQueue,
        jobs: Sequence[Job],
        report: Callable[[int], None] | None = None,
        session: AsyncSession | None = None,
    ) -> list[Enqueued]:
        answers = await enqueue_many(queue, jobs, report, session)
        # Jobs of a transaction are followed when it has committed.
        if keys := [answer.key for answer in answers if answer.created and answer.published is None]:
            await follow(queue.name, keys)
        return answers

    async def publish_and_follow(publisher: Publisher, queue: EngineQueue, keys: Sequence[str]) -> dict[str, Enqueued]:
        answers = await publish(publisher, queue, keys)
        if sent := [answer.key for answer in answers.values() if answer.created]:
            await follow(queue.name, sent)
        return answers

    with (
        patch.object(EngineQueue, "enqueue", enqueue_and_follow),
        patch.object(EngineQueue, "enqueue_many", enqueue_many_and_follow),
        patch.object(Publisher, "committed", publish_and_follow),
    ):
        yield
