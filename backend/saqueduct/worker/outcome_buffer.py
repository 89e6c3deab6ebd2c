"""The outcomes of one worker that wait to be written."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from saq import Job

from saqueduct.broker.batch_sizes import fitting
from saqueduct.broker.outage import REDIS_AWAY
from saqueduct.common.own_context import create_shared_task
from saqueduct.queue.core import QueueCore
from saqueduct.queue.outcomes import OUTCOMES_AT_ONCE, Outcome, Settler, sizes
from saqueduct.tasks.job import Held

logger = logging.getLogger("saqueduct")

RECORDED = ("finish", "retry")
"""Kinds of outcomes that are recorded: an attempt has been made."""


class OutcomeBuffer:
    """The outcomes of one worker that wait to be written.

    A failed write is repeated until Redis is back: the job has run, and does not run again because of it.

    Args:
        core: of the queue.
        settler: of the queue.
        written: called with the keys and leases of jobs once their outcomes are written, or refused.
    """

    def __init__(self, core: QueueCore, settler: Settler, written: Callable[[Sequence[Held]], None]) -> None:
        self._core = core
        self._settler = settler
        self._written = written
        self._waiting: list[tuple[Outcome, Job | None]] = []
        self._writer: asyncio.Task[None] | None = None
        self.closing = asyncio.Event()
        """Once set, a failed write is not repeated: the leases expire, and the jobs are recovered."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, outcome: Outcome, job: Job | None) -> None:
        """Write an outcome with the next batch; after that, record the job's state, if `job` is given."""
        self._waiting.append((outcome, job))
        if self._writer is None or self._writer.done():
            self._writer = create_shared_task(self._write_all())

    async def close(self) -> None:
        """Wait until all are written, or given up: what is not written within `Timings.last_write`."""
        self.closing.set()
        if self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer], timeout=self._core.timings.last_write)
            self._writer.cancel()
            await asyncio.wait([self._writer])
        if self._waiting:
            logger.error("queue %s: %d outcomes are lost with Redis", self._core.name, len(self._waiting))

    async def _write_all(self) -> None:
        while self._waiting:
            batch = self._waiting[: fitting(self._waiting, OUTCOMES_AT_ONCE, sizes, self._core.batch_bytes)]
            begun = time.perf_counter()
            try:
                answers = await self._settled(batch)
            except REDIS_AWAY as error:
                if self.closing.is_set():
                    return
                await self._core.outage.pause(error, self.closing)
                continue
            self._core.outage.over()
            del self._waiting[: len(batch)]
            jobs = [job for _, job in batch]
            if self._core.meter is not None:
                self._core.meter.settled(answers, jobs, time.perf_counter() - begun)
            self._written([(outcome.key, outcome.how.lease) for outcome, _ in batch])
            for outcome, held in answers:
                if not held:
                    logger.warning(
                        "the lease of the job %s was lost, the outcome of this attempt is discarded", outcome.key
                    )
            self._settler.count([outcome for outcome, held in answers if held])
            if self._core.recorder is not None:
                self._core.record(
                    [
                        job
                        for job, (outcome, held) in zip(jobs, answers, strict=True)
                        if job is not None and held and outcome.how.kind in RECORDED
                    ]
                )

    async def _settled(self, batch: Sequence[tuple[Outcome, Job | None]]) -> Sequence[tuple[Outcome, bool]]:
        try:
            return await self._settler.settle_each(batch)
        except REDIS_AWAY:
            raise
        except Exception:
            # In any case it must not block all later outcomes.
            logger.exception("%d outcomes cannot be written; their jobs are recovered", len(batch))
            return [(outcome, False) for outcome, _ in batch]
