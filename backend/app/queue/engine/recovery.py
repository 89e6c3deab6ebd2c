"""Recovery: jobs that a dead worker left behind run again.

Replaces the sweep of SAQ 0.26, which aborts a job that a living worker is just starting (it was taken from the queue
but is not yet marked active), aborts the jobs of a killed worker unless they have retries left, and loses a job when
the sweeping process dies between its abort and its retry. Here:

- A job of a worker that reports no more, or that was taken and never started, is put back in one script once two
  sweeps have seen it so: after an outage of Redis workers need a moment to report again. It costs no retry; after
  MAX_RECOVERIES it fails.
- A job that outlives its timeout or heartbeat on a living worker is ended as SAQ does: aborted, then retried or not.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from saq import Job
from saq.job import Status
from saq.utils import now

if TYPE_CHECKING:
    from app.queue.engine.queue import EngineQueue

logger = logging.getLogger("app.queue")

MAX_RECOVERIES = 3
"""Times that a job is put back after the death of its worker; once more and the job is taken for the cause."""

RECOVERIES = "recoveries"
"""Entry of `Job.meta` that counts them."""

Glimpse = tuple[str, int, int, int]
"""What tells one stay of a job in the active list from the next: key, attempts, queued and touched time."""

_PUT_BACK = """
if redis.call('LREM', KEYS[1], 1, KEYS[3]) == 0 then return 0 end
redis.call('SET', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[4], 0, KEYS[3])
redis.call('RPUSH', KEYS[2], KEYS[3])
return 1
"""


class Recovery:
    """The sweep of one queue in one process.

    Args:
        queue: the queue.
    """

    def __init__(self, queue: "EngineQueue") -> None:
        self._queue = queue
        self._suspects: set[Glimpse] = set()
        self._put_back = queue.redis.register_script(_PUT_BACK)

    async def sweep(self, abort: float) -> list[str]:
        """Put back or end the jobs that nobody runs any more; returns their ids.

        Args:
            abort: seconds that a living worker gets to abort a job that is past its time.
        """
        queue = self._queue
        entries = cast("list[bytes]", await queue.redis.lrange(queue.namespace("active"), 0, -1))
        ids = [entry.decode() for entry in entries]
        found = await queue.redis.mget(ids) if ids else []
        swept: list[str] = []
        jobs: list[Job] = []
        for job_id, raw in zip(ids, found, strict=True):
            if (job := queue.deserialize(raw)) is not None:
                jobs.append(job)
            else:
                await queue.redis.lrem(queue.namespace("active"), 0, job_id)
                await queue.redis.zrem(queue.namespace("incomplete"), job_id)
                swept.append(job_id)
        orphans = await self._orphans(jobs)
        swept += [job.id for job in orphans if await self._recover(job)]
        stuck = [job for job in jobs if job not in orphans and job.stuck]
        await asyncio.gather(*(self._end(job, abort) for job in stuck))
        return swept + [job.id for job in stuck]

    async def _orphans(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs that nobody runs, and that nobody ran at the last sweep either."""
        started = [job for job in jobs if not _unstarted(job) and job.worker_id]
        keys = [self._queue.namespace(f"worker_info:{job.worker_id}") for job in started]
        reports = await self._queue.redis.mget(keys) if keys else []
        dead = [job for job, report in zip(started, reports, strict=True) if report is None]
        suspects = dead + [job for job in jobs if _unstarted(job)]
        before, self._suspects = self._suspects, {_glimpse(job) for job in suspects}
        return [job for job in suspects if _glimpse(job) in before]

    async def _recover(self, job: Job) -> bool:
        recoveries = int(job.meta.get(RECOVERIES, 0)) + 1
        if recoveries > MAX_RECOVERIES:
            await job.finish(Status.FAILED, error=f"its worker died {recoveries} times while it ran")
            return True
        job.meta[RECOVERIES] = recoveries
        if not _unstarted(job):
            job.attempts = max(0, job.attempts - 1)
        job.status = Status.QUEUED
        job.started = 0
        job.touched = now()
        queue = self._queue
        keys = [queue.namespace("active"), queue.namespace("queued"), job.id, queue.namespace("incomplete")]
        if not await self._put_back(keys=keys, args=[queue.serialize(job)]):
            return False
        logger.warning("recovered %s: its worker is gone", job.info())
        await queue.notify(job)
        return True

    async def _end(self, job: Job, abort: float) -> None:
        error = self._queue.swept_error_message
        logger.warning("ending %s: it is past its timeout or heartbeat", job.info())
        await job.abort(error)
        try:
            await job.refresh(abort)
        except TimeoutError:
            logger.warning("its worker did not abort %s", job.info())
        if job.retryable:
            await job.retry(error)
        else:
            await job.finish(Status.ABORTED, error=error)


def _unstarted(job: Job) -> bool:
    return job.status not in (Status.ACTIVE, Status.ABORTING)


def _glimpse(job: Job) -> Glimpse:
    return job.key, job.attempts, job.queued, job.touched
