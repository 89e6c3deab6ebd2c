"""Recovery: jobs whose lease ran out run again.

A worker renews its leases while its process lives; a lease that has run out is a dead worker's, or that of a worker
which cannot reach Redis. After an outage of Redis all leases have run out, and living workers need a moment to renew
them: so a job is taken only when two looks, RENEWAL apart, have found the same lease with the same deadline.
"""

import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

from saq.job import Status
from saq.utils import now

from app.queue.engine.job import LATE, UNBEGUN, EngineJob, UnreadableJob, failure, holder
from app.queue.engine.outcomes import Outcome, count, settle_each
from app.queue.meta import AT_MOST_ONCE, RECOVERIES

if TYPE_CHECKING:
    from app.queue.engine.leased import LeasedQueue

logger = logging.getLogger("app.queue")

LEASE = 8.0
"""Seconds that a lease lasts."""

RENEWAL = 2.0
"""Seconds between two renewals of a worker's leases."""

LOOK = 2.5
"""Seconds between two looks for expired leases; with LEASE: a killed worker's job waits 15 s at most."""

AT_ONCE = 100
"""Expired leases that one look takes at most."""

MAX_RECOVERIES = 3
"""Times that a job is put back after the death of its worker; once more and the job is taken for the cause."""

LATE_ERROR = "its worker hangs: the job outlived its timeout and could not be cancelled"


class Recovery:
    """Looks for expired leases of one queue in one process.

    Args:
        queue: the queue.
    """

    def __init__(self, queue: "LeasedQueue") -> None:
        self._queue = queue
        self._seen: dict[tuple[str, ...], float] = {}
        """Key, lease and deadline of expired leases, and when a look first found them."""

    async def sweep(self) -> list[str]:
        """Put back or end the jobs whose lease ran out; returns their ids."""
        jobs = [job async for job in self._expired()]
        outcomes = [self._outcome(job, abort) for job, abort in jobs]
        if not outcomes:
            return []
        recovered = []
        batch = [(outcome, job) for (job, _), outcome in zip(jobs, outcomes, strict=True)]
        written = await settle_each(self._queue, batch, expired=True)
        for (job, _), (outcome, held) in zip(jobs, written, strict=True):
            if held:
                logger.warning("recovered %s: its worker is gone, or hangs", job.info())
                recovered.append(job.id)
                # What has not begun is handed back as if it had never been leased.
                if outcome.kind != "return" or job.failure is not None:
                    count(self._queue, outcome)
                    self._queue.record(job)
        return recovered

    async def _expired(self) -> AsyncIterator[tuple[EngineJob, str]]:
        """The jobs that nobody holds any more, each with the reason of its abort, if it is to be aborted."""
        found = await self._queue.scripts.run("expired", AT_ONCE)
        entries = [tuple(part.decode() for part in entry) for entry in cast("list[list[bytes]]", found)]
        current = time.monotonic()
        self._seen = {entry[:3]: self._seen.get(entry[:3], current) for entry in entries}
        for entry in entries:
            _, lease, _, stored, abort = entry
            # These were given up by the worker itself: nobody will renew that lease.
            if lease.endswith((LATE, UNBEGUN)) or current - self._seen[entry[:3]] >= RENEWAL:
                try:
                    job = self._queue.read(entry[0], stored)
                except UnreadableJob as error:
                    # Its worker died before it could take it out of the queue; another will.
                    logger.error("%s", error)
                    await settle_each(self._queue, [(Outcome.unreadable(entry[0], lease, stored), None)], expired=True)
                    continue
                job.lease = lease
                yield job, abort

    def _outcome(self, job: EngineJob, abort: str) -> Outcome:
        late = job.lease.endswith(LATE)
        recoveries = int(job.meta.get(RECOVERIES, 0)) + 1
        if abort:
            return self._end(job, Status.ABORTED, abort)
        if late:
            job.attempts += 1
            return self._again(job, LATE_ERROR) if job.retryable else self._end(job, Status.FAILED, LATE_ERROR)
        if job.lease.endswith(UNBEGUN):
            job.status, job.touched = Status.QUEUED, now()
            return Outcome.hand_back(self._queue, job)
        if job.meta.get(AT_MOST_ONCE):
            return self._end(job, Status.FAILED, "its worker died while it ran, and it runs at most once")
        if recoveries > MAX_RECOVERIES:
            return self._end(job, Status.FAILED, f"its worker died {recoveries} times while it ran")
        job.meta[RECOVERIES] = recoveries
        job.status, job.touched = Status.QUEUED, now()
        died = failure(job, "its worker died while it ran")
        died["worker"], died["started"] = holder(job.lease)
        job.failure = died
        return Outcome.hand_back(self._queue, job)

    def _end(self, job: EngineJob, status: Status, error: str) -> Outcome:
        job.status, job.error, job.completed = status, error, now()
        return Outcome.finish(self._queue, job)

    def _again(self, job: EngineJob, error: str) -> Outcome:
        job.status, job.error, job.touched = Status.QUEUED, error, now()
        return Outcome.retry(self._queue, job, job.next_retry_delay())
