"""Unrecorded ends: what Redis keeps of ended jobs until PostgreSQL has stored it; see `queue/unrecorded.py`."""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from saq import Job

from saqueduct.broker.keys import UNRECORDED
from saqueduct.broker.outage import answering
from saqueduct.errors import QueueUnavailable
from saqueduct.queue.queue import EngineQueue
from saqueduct.queue.unrecorded import Unrecorded
from saqueduct.tasks.job import EngineJob, UnreadableJob
from saqueduct.timings import PostgresTimings

logger = logging.getLogger("saqueduct")

MOST = 100_000
"""Ends that a queue keeps, about, before its workers take no further jobs: some hundred megabytes of Redis."""


class UnwrittenEnds(NamedTuple):
    """Jobs whose ends no process has written; and whether there are others that are too young."""

    jobs: list[EngineJob]
    younger: bool


class UnrecordedEnds:
    """The ends that Redis keeps of the queues of one process.

    Args:
        queues: by name; may grow.
        knows: returns whether this process knows a job's task.
        timings: intervals, waits and limits.
        most: ends that a queue keeps, about, before its workers take no further jobs.
    """

    def __init__(
        self,
        queues: Mapping[str, EngineQueue],
        knows: Callable[[Job], bool],
        timings: PostgresTimings,
        most: int = MOST,
    ) -> None:
        self._timings = timings
        self._most = most
        self._queues = queues
        self._knows = knows
        self._unreadable: set[str] = set()
        """Marks that were logged."""

    async def forget(self, ends: Iterable[tuple[str, str]]) -> None:
        """Delete kept ends, each given by its queue's name and its mark; if Redis is unavailable, they are written
        again."""
        by_queue: dict[str, list[str]] = {}
        for name, mark in ends:
            by_queue.setdefault(name, []).append(mark)
        for name, marks in by_queue.items():
            queue = self._queues[name]
            try:
                async with answering(queue.core.timings.answer):
                    await queue.unrecorded.forget(marks)
            except QueueUnavailable as error:
                logger.debug("queue %s: %d ends of jobs could not be written, retrying: %s", name, len(marks), error)

    async def crowded(self, queues: Sequence[EngineQueue]) -> bool:
        """True when one of the queues keeps too many ends.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        return any([await self._count(queue) >= self._most for queue in queues])

    async def _count(self, queue: EngineQueue) -> int:
        async with answering(queue.core.timings.answer):
            return await queue.unrecorded.count()

    async def left(self, queue: EngineQueue, age: float) -> AsyncIterator[UnwrittenEnds]:
        """What the queue keeps for `age` seconds or longer, a part at a time.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        cursor, last = 0, False
        while not last:
            async with answering(queue.core.timings.answer):
                cursor, young, ends = await queue.unrecorded.page(cursor, age)
            last = cursor == 0
            yield UnwrittenEnds([job for end in ends if (job := self._read(queue, end)) is not None], young > 0)

    def _read(self, queue: EngineQueue, end: Unrecorded) -> EngineJob | None:
        try:
            job = queue.read(end.key, end.stored)
        except UnreadableJob as error:
            if end.mark not in self._unreadable:
                logger.error("%s; its end stays in the hash %s", error, queue.namespace(UNRECORDED))
                self._unreadable.add(end.mark)
            return None
        return job if self._knows(job) or end.age >= self._timings.unknown_task_kept else None
