"""Leasing: jobs of a queue for one worker, many in one script call."""

import asyncio
import dataclasses
import logging
import time
from contextlib import suppress
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from saq.job import Status
from saq.utils import now

from saqueduct.common.text import decoded
from saqueduct.queue.core import QueueCore
from saqueduct.queue.outcomes import Outcome
from saqueduct.tasks.job import EXPIRED, EngineJob, UnreadableJob, has_expired, holder
from saqueduct.tasks.job_meta import EXPIRES_AT, RECOVERIES, engine_entries
from saqueduct.worker.loop_monitor import Pulse
from saqueduct.worker.lost_leases import LostLeases
from saqueduct.worker.outcome_buffer import OutcomeBuffer
from saqueduct.worker.quarantine import SUSPECT
from saqueduct.worker.waiting import Waiting

logger = logging.getLogger("saqueduct.worker")

PAUSES = (0.05, 0.1, 0.2, None)
"""Seconds until a lease whose connection broke is requested again; None: never."""

LAST_LOOK = 1.0
"""Seconds that a worker which stops waits for that."""

ROUNDED = 1.0
"""Seconds by which a lease may end sooner: it ends with a whole second, see `deadline_in` in `lua/prelude.lua`."""

BROKEN = (RedisConnectionError, RedisTimeoutError)


@dataclasses.dataclass(slots=True)
class Leased:
    """What one script call leased: the jobs, and seconds until a delayed job comes due (None: there is none)."""

    jobs: list[EngineJob]
    due: float | None
    more: bool
    """True: other jobs are queued."""
    shared: bool
    """True: other jobs are queued, and are other workers' share."""
    paused: bool
    """True: the queue is paused, even if jobs wait."""
    suspects: list[EngineJob] = dataclasses.field(default_factory=list)
    """Jobs whose workers died often; see `quarantine.py`."""


class Leasing:
    """Leases jobs.

    Args:
        core: of the queue.
        worker_id: who leases.
        waiting: waits for jobs.
        outcomes: receive the jobs that must not run.
        lost: records calls whose answers were lost.
        pulse: of the worker's event loop.
    """

    def __init__(
        self,
        core: QueueCore,
        worker_id: str,
        waiting: Waiting,
        outcomes: OutcomeBuffer,
        lost: LostLeases,
        pulse: Pulse,
    ) -> None:
        self.answered_at = time.monotonic()
        """Seconds of the monotonic clock at the last answer to a lease, whether there were jobs or not."""
        self._core = core
        self._worker_id = worker_id
        self._waiting = waiting
        self._outcomes = outcomes
        self._lost = lost
        self._pulse = pulse
        self._suspects: list[EngineJob] = []

    async def lease(self, count: int, held: int, waits: float = 0.0) -> Leased:
        """Lease up to `count` jobs; those that have expired, or cannot be read, end here.

        Args:
            count: jobs at most.
            held: jobs that the worker has.
            waits: seconds to wait for a job to arrive; 0: none. Redis cannot know whether the waiting process has been
                suspended meanwhile, so only one job should be put at risk, not many.

        Raises:
            ConnectionError: redis-py's; Redis is away, or refuses everything for now.
        """
        for pause in PAUSES:
            call = self._lost.call()
            try:
                return await self._lease((count, self._worker_id, self._core.timings.lease, held, call), waits)
            except BaseException as error:
                self._lost.lose(call)
                if not isinstance(error, BROKEN) or pause is None or self._waiting.stopped:
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("the last pause is none")

    async def close(self) -> None:
        """Release what failed calls may have leased; the worker makes no further calls."""
        if lost := self._lost.prefixes():
            with suppress(RedisError, OSError):
                async with asyncio.timeout(LAST_LOOK):
                    await self._core.scripts.run("disown", *lost, again=False)

    async def _lease(self, arguments: tuple[Any, ...], waits: float) -> Leased:
        ask = (
            self._waiting.lease(arguments, waits) if waits else self._core.scripts.run("lease", *arguments, again=False)
        )
        asked = self._pulse.stopped_for()
        answer = await ask
        # Nothing renews the leases of an answer that nobody has read: other workers may have its jobs by now.
        # Uncertain: the process was suspended a moment ago, for nobody knows how long yet.
        uncertain = self._pulse.certain() is None
        late = uncertain or self._pulse.stopped_for() - asked > max(0.0, self._core.timings.lease - ROUNDED) / 2
        if answer is None or late:
            self._lost.lose(arguments[-1])
            return Leased([], None, more=False, shared=False, paused=False)
        milliseconds, due, line, lease = answer[:4]
        time_now = int(milliseconds) / 1000
        found = zip(*answer[4:], strict=True)
        self.answered_at = time.monotonic()
        claim = lease.decode()
        holds = holder(claim)
        self._suspects = []
        read = self._read
        jobs = [job for job_id, stored in found if (job := read(job_id, stored, claim, holds, time_now)) is not None]
        seconds = float(due) if due else None
        return Leased(jobs, seconds, line == b"more", line == b"shared", line == b"paused", self._suspects)

    def _read(
        self, job_id: bytes, stored: bytes, lease: str, holds: tuple[str, int], time_now: float
    ) -> EngineJob | None:
        key = self._core.job_key_from_id(job_id.decode() if job_id.isascii() else decoded(job_id))
        try:
            job = self._core.read(key, stored)
        except UnreadableJob as error:
            logger.error("%s; it is removed from the queue", error)
            self._outcomes.add(Outcome.unreadable(key, lease, stored), None)
            return None
        job.lease = lease
        if job.meta:
            job.own = engine_entries(job.meta)
            if EXPIRES_AT in job.meta and has_expired(job, time_now):
                job.status, job.error, job.completed = Status.ABORTED, EXPIRED, now()
                self._outcomes.add(Outcome.finish(self._core, job), job)
                return None
        job.worker_id, job.started = holds
        job.attempts += 1
        job.status = Status.ACTIVE
        if job.meta and job.meta.get(RECOVERIES, 0) >= SUSPECT:
            self._suspects.append(job)
            return None
        return job
