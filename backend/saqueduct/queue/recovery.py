"""Recovery: runs jobs again whose lease ran out.

A worker renews its leases while its process lives; an expired lease belongs to a dead worker, or to one that cannot
reach Redis. After an outage of Redis all leases have run out, and live workers need a moment to renew them. So a job is
only recovered when two checks, `Timings.recovery_wait` apart, have found the same lease with the same deadline.
"""

import logging
import time
from collections.abc import Sequence
from typing import cast

from saq.job import Status
from saq.utils import now

from saqueduct.broker.batch_sizes import batches
from saqueduct.common.text import decoded
from saqueduct.queue.core import QueueCore
from saqueduct.queue.outcomes import OUTCOMES_AT_ONCE, Outcome, Settler, sizes
from saqueduct.tasks.job import HUNG, LATE, STALLED, UNBEGUN, EngineJob, failure, holder, marked, ran_alone
from saqueduct.tasks.job_meta import AT_MOST_ONCE, EXPIRES_AT, MISFIT_SINCE, RECOVERIES, STALLS

logger = logging.getLogger("saqueduct")

LEASES_PER_CALL = 5000
"""Maximum expired leases that one check finds: some milliseconds of server time."""

SWEEP_LOCK = 60
"""Seconds after the last check of an engine worker in which no stock worker sweeps; stock workers sweep as often."""

LATE_ERROR = "its worker hangs: the job outlived its timeout and could not be cancelled"


class Recovery:
    """Checks one queue for expired leases, in one process.

    Args:
        core: of the queue.
        settler: of the queue.
    """

    def __init__(self, core: QueueCore, settler: Settler) -> None:
        self._core = core
        self._settler = settler
        self._seen: dict[tuple[str, ...], float] = {}
        """Key, lease and deadline of expired leases, and when a check first found them."""

    async def sweep(self) -> list[str]:
        """Queue again or end the jobs whose lease ran out; returns their ids."""
        leases = await self._expired()
        recovered: list[str] = []
        for first in range(0, len(leases), OUTCOMES_AT_ONCE):
            recovered += await self._recover(leases[first : first + OUTCOMES_AT_ONCE])
        return recovered

    async def _expired(self) -> list[tuple[str, str]]:
        """Key and lease of the jobs that no worker holds any more."""
        seen, self._seen = self._seen, {}
        # If a check fails, live workers may have failed to renew too: the next check counts as the first again.
        found = await self._core.scripts.run("expired", LEASES_PER_CALL, *self._core.sweep_locks, SWEEP_LOCK)
        answer = [decoded(part) for part in cast("list[bytes]", found)]
        entries = list(zip(answer[::3], answer[1::3], answer[2::3], strict=True))
        current = time.monotonic()
        self._seen = {entry: seen.get(entry, current) for entry in entries}
        return [
            (key, lease)
            for (key, lease, _), seen in self._seen.items()
            # The worker itself gave up marked leases: no need to wait.
            if (current - seen >= self._core.timings.recovery_wait or marked(lease)[0]) and not self._is_own(key, lease)
        ]

    def _is_own(self, key: str, lease: str) -> bool:
        """True for a job that a worker of this process has offered to other workers, and continues itself."""
        offered = self._core.offered
        return bool(offered) and (key, lease.removesuffix(STALLED).removesuffix(HUNG)) in offered

    async def _recover(self, leases: Sequence[tuple[str, str]]) -> list[str]:
        found = await self._core.scripts.run("orphans", *(part for lease in leases for part in lease))
        batch = [self._reached(*entry) for entry in cast("list[list[bytes]]", found)]
        written: list[tuple[Outcome, bool]] = []
        for some in batches(batch, OUTCOMES_AT_ONCE, sizes, self._core.batch_bytes):
            written += await self._settler.settle_each(some, expired=True)
        recovered = []
        for (_, job), (outcome, held) in zip(batch, written, strict=True):
            if held and job is not None:
                _log(job)
                recovered.append(job.id)
                # A job that has not begun is released as if it had never been leased.
                if outcome.how.kind != "return" or job.failure is not None:
                    self._settler.count([outcome])
                    self._core.note_end(job)
                    if self._core.meter is not None and outcome.how.kind == "return":
                        self._core.meter.recovered(job)
        return recovered

    def _reached(self, key: bytes, lease: bytes, stored: bytes, abort: bytes) -> tuple[Outcome, EngineJob | None]:
        try:
            job = self._core.read(key.decode(), stored)
            job.lease = lease.decode()
            return self._outcome(job, decoded(abort)), job
        except Exception as error:
            # Its worker died before it could remove it from the queue.
            logger.error("the job %s is removed from the queue: %s", key.decode(), error)
            return Outcome.unreadable(key.decode(), lease.decode(), stored), None

    def _outcome(self, job: EngineJob, abort: str) -> Outcome:
        mark, why = marked(job.lease)
        recoveries = int(job.meta.get(RECOVERIES, 0)) + 1
        if abort:
            return self._end(job, Status.ABORTED, abort)
        if mark == UNBEGUN:
            job.status, job.touched = Status.QUEUED, now()
            return Outcome.release(self._core, job)
        # The job has begun in time.
        job.meta.pop(EXPIRES_AT, None)
        job.meta.pop(MISFIT_SINCE, None)
        if mark == LATE:
            job.attempts += 1
            error = f"TimeoutError: {why}" if why else LATE_ERROR
            return self._again(job, error) if job.retryable else self._end(job, Status.FAILED, error)
        if job.meta.get(AT_MOST_ONCE):
            return self._end(job, Status.FAILED, "its worker died while it ran, and it runs at most once")
        if mark == STALLED:
            # Another job caused the stall.
            job.meta[STALLS] = int(job.meta.get(STALLS, 0)) + 1
            return self._put_back(job, "another job blocked the event loop of its worker")
        if recoveries > self._core.max_recoveries and ran_alone(job.lease):
            return self._end(job, Status.FAILED, f"its worker died {recoveries} times while it ran, at last alone")
        job.meta[RECOVERIES] = min(recoveries, self._core.max_recoveries)
        hung = "something blocked the event loop of its worker"
        return self._put_back(job, hung if mark == HUNG else "its worker died while it ran")

    def _put_back(self, job: EngineJob, why: str) -> Outcome:
        job.status, job.touched = Status.QUEUED, now()
        lost = failure(job, why)
        lost["worker"], lost["started"] = holder(job.lease)
        job.failure = lost
        return Outcome.release(self._core, job)

    def _end(self, job: EngineJob, status: Status, error: str) -> Outcome:
        job.status, job.error, job.completed = status, error, now()
        return Outcome.finish(self._core, job)

    def _again(self, job: EngineJob, error: str) -> Outcome:
        job.status, job.error, job.touched = Status.QUEUED, error, now()
        return Outcome.retry(self._core, job, job.next_retry_delay())


def _log(job: EngineJob) -> None:
    """Log the outcome of a job that its worker no longer held."""
    if job.status is not Status.QUEUED:
        ended = "failed" if job.status is Status.FAILED else "is aborted"
        reason, _, stack = (job.error or "").partition("\n")
        extra = {"stack": stack.rstrip()} if stack else None
        logger.error("job %s of %s %s: %s", job.key, job.function, ended, reason, extra=extra)
        return
    reason = str(job.failure["error"]) if job.failure else job.error or "it had not begun"
    logger.warning("job %s of %s is queued again: %s", job.key, job.function, reason.partition("\n")[0])
