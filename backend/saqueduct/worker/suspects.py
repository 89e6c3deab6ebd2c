"""Suspects: jobs whose workers died often; a worker starts them as `quarantine.py` allows."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from saqueduct.queue.core import QueueCore
from saqueduct.tasks.job import ALONE, EngineJob
from saqueduct.tasks.job_meta import RECOVERIES
from saqueduct.worker import quarantine
from saqueduct.worker.attempt import Attempt
from saqueduct.worker.leases import LeaseKeeper
from saqueduct.worker.leasing import Leased

logger = logging.getLogger("saqueduct.worker")

LOOK_FOR_ROOM = 0.25
"""Seconds between two checks for room for a suspect, and whether it still waits."""


class Starter(Protocol):
    """Starts the jobs of a worker; see `JobRunner`."""

    @property
    def core(self) -> QueueCore: ...
    @property
    def keeper(self) -> LeaseKeeper: ...
    @property
    def concurrency(self) -> int: ...

    def taken_slots(self) -> int: ...
    def run_at_once(self, job: EngineJob) -> Attempt: ...
    def put_back(self, job: EngineJob) -> None: ...
    def wake(self) -> None: ...


class Suspects:
    """Starts the suspects of one worker.

    A suspect without room goes back to the front of the queue, where a worker with room finds it. Meanwhile this one
    lets its jobs end and starts no others: a suspect would wait forever if all workers kept filling their slots.

    Args:
        starter: of the worker.
        stopping: set when the worker stops.
    """

    def __init__(self, starter: Starter, stopping: asyncio.Event) -> None:
        self._starter = starter
        self._stopping = stopping
        self.quarantine = quarantine.join(starter.taken_slots)

    @property
    def wait(self) -> bool:
        """True while one waits in the queue for room here."""
        return self.quarantine.limited_by(self)

    async def free(self, slots: Callable[[], int]) -> int:
        """How many jobs to lease in quarantine, of so many free slots; 1 to look whether a suspect still waits."""
        if not self.wait:
            return min(slots(), self.quarantine.room())
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_FOR_ROOM):
                await self._stopping.wait()
        return min(slots(), self.quarantine.room(apart_from=self), 1)

    async def start(self, leased: Leased) -> None:
        """Start suspects, leave in `leased` the other jobs that may start, and return the rest to the queue."""
        self._starter.keeper.hold(leased.jobs)
        self.quarantine.lift(self)
        suspects, jobs = leased.suspects, leased.jobs
        begun = 0
        while begun < len(suspects) and await self._start(suspects[begun]):
            begun += 1
        room = 0 if begun < len(suspects) else self.quarantine.room()
        leased.jobs = jobs[:room]
        self._starter.keeper.hold(suspects[begun:])
        # They go back together, and so keep their order.
        for job in [*suspects[begun:], *jobs[room:]]:
            self._starter.put_back(job)

    def leave(self) -> None:
        """The worker ends."""
        self.quarantine.lift(self)
        quarantine.leave(self._starter.taken_slots)

    async def _start(self, job: EngineJob) -> bool:
        """Start a suspect, if what runs in this process leaves room for it; else make room."""
        recoveries = job.meta[RECOVERIES]
        limit = quarantine.company(recoveries, self._starter.concurrency, self._starter.core.max_recoveries)
        if self._stopping.is_set():
            return False
        if not self.quarantine.fits(limit):
            self.quarantine.limit(self, limit)
            return False
        if recoveries >= self._starter.core.max_recoveries and not await self._isolate(job):
            return False
        attempt = self._starter.run_at_once(job)
        self.quarantine.limit(attempt, limit)
        attempt.task.add_done_callback(lambda _: self._ended(attempt))
        return True

    async def _isolate(self, job: EngineJob) -> bool:
        """Note in its lease that a job runs alone; False when that failed, or the lease is lost."""
        # Nothing starts meanwhile.
        self.quarantine.limit(job, 0)
        try:
            held = await self._starter.core.scripts.run("isolate", job.key, job.lease)
        except Exception as error:
            # The next renewal removes the note, and the job goes back when Redis answers.
            logger.warning("job %s of %s goes back to the queue: %s", job.key, job.function, error)
            return False
        finally:
            self.quarantine.lift(job)
        if not held:
            return False
        job.lease += ALONE
        logger.warning(
            "job %s of %s runs alone in this process: its workers died %d times", job.key, job.function,
            job.meta[RECOVERIES],
        )  # fmt: skip
        return True

    def _ended(self, attempt: object) -> None:
        self.quarantine.lift(attempt)
        self._starter.wake()
