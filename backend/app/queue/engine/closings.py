"""Closings: a durable job has ended when PostgreSQL knows it; should Redis forget it then, it does not run again."""

import asyncio
import logging
from typing import TYPE_CHECKING

from app.queue.engine.job import EngineJob
from app.queue.engine.outcomes import Outcome, Outcomes

if TYPE_CHECKING:
    from app.queue.engine.queue import EngineQueue

logger = logging.getLogger("app.worker")

CLOSING = 3.0
"""Seconds that PostgreSQL gets to learn that a durable job has ended, before Redis does; its lease holds for longer."""


class Closings:
    """The ends of durable jobs of one worker, until PostgreSQL has them.

    Args:
        queue: the queue.
        outcomes: take them then.
    """

    def __init__(self, queue: "EngineQueue", outcomes: Outcomes) -> None:
        self._queue = queue
        self._outcomes = outcomes
        self._under_way: set[asyncio.Task[None]] = set()

    def add(self, outcome: Outcome, job: EngineJob) -> None:
        """Tell PostgreSQL that a job has ended, and Redis after it."""
        closing = asyncio.create_task(self._close(outcome, job))
        self._under_way.add(closing)
        closing.add_done_callback(self._under_way.discard)

    async def flushed(self) -> None:
        """Wait until PostgreSQL has all of them, or CLOSING is over."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _close(self, outcome: Outcome, job: EngineJob) -> None:
        recorder = self._queue.recorder
        if recorder is not None:
            try:
                async with asyncio.timeout(CLOSING):
                    if not await recorder.close_durable(job):
                        logger.warning("the job %s had ended before; this attempt does not count", job.key)
                job.recorded = True
            except Exception as error:
                logger.warning("that the job %s has ended is remembered later: %s", job.key, error)
        self._outcomes.add(outcome, job)
