"""What tests of limits do by hand: lease and settle jobs as a worker does, and look at the lanes."""

import itertools
from collections.abc import Sequence
from typing import Any, cast

from saq.job import Status
from saq.utils import now

from saqueduct import EngineQueue
from saqueduct.flow.limits import gate_of
from saqueduct.queue.outcomes import Outcome
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import LIMITS


class Hands:
    """A worker without a loop.

    Args:
        queue: the queue.
        name: the worker's id.
    """

    def __init__(self, queue: EngineQueue, name: str = "hands") -> None:
        self.queue = queue
        self.name = name
        self.due: float | None = None
        """Seconds until something comes due, at the last lease."""
        self.line = ""
        self._calls = itertools.count(1)

    async def lease(self, most: int = 10, seconds: float = 8.0) -> list[EngineJob]:
        """Lease up to so many jobs."""
        answer = await self.queue.scripts.run("lease", most, self.name, seconds, 0, next(self._calls))
        due, line, lease = answer[1], answer[2], answer[3].decode()
        self.due, self.line = float(due) if due else None, line.decode()
        jobs = []
        for job_id, stored in zip(*answer[4:], strict=True):
            job = self.queue.read(self.queue.job_key_from_id(job_id.decode()), stored)
            job.lease, job.attempts, job.started = lease, job.attempts + 1, now()
            jobs.append(job)
        return jobs

    async def all(self, most: int = 10) -> list[EngineJob]:
        """Lease until there is nothing more to lease now."""
        jobs = await self.lease(most)
        while self.line == "more":
            jobs += await self.lease(most)
        return jobs

    async def finish(self, *jobs: EngineJob) -> None:
        """End jobs with a result."""
        for job in jobs:
            job.status, job.completed = Status.COMPLETE, now()
        await self._settle([Outcome.finish(self.queue.core, job) for job in jobs])

    async def retry(self, job: EngineJob, delay: float = 0.0) -> None:
        """Give a job another attempt after so many seconds."""
        job.status, job.started = Status.QUEUED, 0
        await self._settle([Outcome.retry(self.queue.core, job, delay)])

    async def release(self, *jobs: EngineJob) -> None:
        """Put jobs back."""
        for job in jobs:
            job.status, job.started = Status.QUEUED, 0
            job.attempts -= 1
        await self._settle([Outcome.release(self.queue.core, job) for job in jobs])

    async def postpone(self, job: EngineJob, delay: float) -> None:
        """Put a job back until later, as if it had never been leased."""
        job.status, job.started = Status.QUEUED, 0
        job.attempts -= 1
        await self._settle([Outcome.postpone(self.queue.core, job, delay)])

    async def throttle(self, job: EngineJob, limit: str, seconds: float) -> None:
        """Put a job back that closes one of its limits for so many seconds."""
        await self.throttle_all([job], limit, seconds)

    async def throttle_all(self, jobs: Sequence[EngineJob], limit: str, seconds: float) -> None:
        """The same with several jobs in one step."""
        outcomes = []
        for job in jobs:
            job.status, job.started = Status.QUEUED, 0
            job.attempts -= 1
            key = next(key for name, key, _ in job.meta[LIMITS] if name == limit)
            outcomes.append(Outcome.throttle(self.queue.core, job, gate_of(limit, key), seconds))
        await self._settle(outcomes)

    async def take(self, job: EngineJob, gate: str, token: str, rule: str = "c 1") -> str:
        """Take a limit for a part of a leased job; returns the answer of `lua/take.lua`."""
        arguments = job.key, job.lease, gate, gate.partition("\t")[0], rule, token
        return cast("bytes", await self.queue.scripts.run("take", *arguments, "")).decode()

    async def give(self, job: EngineJob, token: str, gate: str = "", *, used: bool = True) -> None:
        """Give it back, or wait no longer."""
        await self.queue.scripts.run("take", job.key, job.lease, gate, "", "", token, "1" if used else "2")

    async def die(self) -> None:
        """Let the leases of this worker run out, and be recovered."""
        leases = self.queue.namespace("leases")
        for job_id in await self.queue.redis.zrange(leases, 0, -1):
            await self.queue.redis.zadd(leases, {cast("bytes", job_id): 1})

    async def _settle(self, outcomes: Sequence[Outcome]) -> None:
        answers = await self.queue.settler.settle(outcomes)
        assert all(answer is True for answer in answers), answers


def names(jobs: Sequence[EngineJob]) -> list[Any]:
    """The argument `n` of jobs."""
    return [cast("dict[str, Any]", job.kwargs)["n"] for job in jobs]
