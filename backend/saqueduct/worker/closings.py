"""Closings: a durable job has ended once PostgreSQL knows it; if Redis then forgets it, it does not run again."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from saqueduct.common.own_context import create_shared_task
from saqueduct.queue.core import QueueCore
from saqueduct.queue.outcomes import Outcome
from saqueduct.tasks.job import EngineJob, mark_of
from saqueduct.worker.outcome_buffer import OutcomeBuffer

logger = logging.getLogger("saqueduct.worker")

ENDS_AT_ONCE = 500
"""Ends that one statement writes at most."""


class Closings:
    """Holds the ends of one worker's durable jobs until PostgreSQL has them; many per statement, one statement at a
    time.

    Redis learns of an end after PostgreSQL. While PostgreSQL is away, Redis keeps the ends for it, see
    `queue/unrecorded.py`: jobs go on without it.

    Args:
        core: of the queue.
        outcomes: receive the ends after that.
        closed: called after each statement.
    """

    def __init__(self, core: QueueCore, outcomes: OutcomeBuffer, closed: Callable[[], None]) -> None:
        self._core = core
        self._outcomes = outcomes
        self._closed = closed
        self._waiting: list[tuple[Outcome, EngineJob]] = []
        self._writer: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Ends that neither PostgreSQL nor Redis has."""
        return len(self._waiting)

    def add(self, outcome: Outcome, job: EngineJob) -> None:
        """Write the end of a job with the next statement, and report it to Redis afterwards."""
        self._waiting.append((outcome, job))
        if self._writer is None or self._writer.done():
            self._writer = create_shared_task(self._write_all())

    async def flushed(self) -> None:
        """Wait until all are on their way to Redis; PostgreSQL gets a few seconds for each statement."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        while self._waiting:
            batch = self._waiting[:ENDS_AT_ONCE]
            known = await self._close([job for _, job in batch])
            for (outcome, job), recorded in zip(batch, known, strict=True):
                job.recorded = recorded
                self._outcomes.add(outcome.unrecorded("" if recorded else mark_of(job)), job)
            del self._waiting[: len(batch)]
            self._closed()

    async def _close(self, jobs: Sequence[EngineJob]) -> list[bool]:
        """True for each whose end PostgreSQL knows."""
        recorder = self._core.recorder
        if recorder is None or recorder.away:
            return [False] * len(jobs)
        try:
            first = await recorder.close(jobs)
        except Exception as error:
            logger.warning("the ends of %d durable jobs are kept in Redis for now: %s", len(jobs), error)
            return [False] * len(jobs)
        for job in (job for job, counts in zip(jobs, first, strict=True) if counts is False):
            logger.warning("the job %s had already ended, the outcome of this attempt is discarded", job.key)
        return [counts is not None for counts in first]
