"""Outcomes: how jobs ended or go on, written many at a time, each only under the lease it was reached under."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from redis.exceptions import RedisError, ResponseError
from saq import Job
from saq.job import Status

from app.queue.engine.job import EngineJob, level_of
from app.queue.engine.outage import REDIS_AWAY
from app.queue.engine.scripts import pack, text
from app.queue.meta import CLAIM

if TYPE_CHECKING:
    from app.queue.engine.leased import LeasedQueue

logger = logging.getLogger("app.queue")

CHUNK = 200
"""Outcomes written by one script call."""


UNREADABLE_TTL = 24 * 60 * 60
"""Seconds for which a job that cannot be read is kept."""


class Outcome(NamedTuple):
    """One outcome, as `scripts/settle.lua` takes it."""

    kind: str
    key: str
    lease: str
    job: str | msgspec.Raw
    status: str
    number: float
    """Seconds: the time to live of what has ended, the delay of what goes on."""
    level: str
    claim: str

    @classmethod
    def finish(cls, queue: "LeasedQueue", job: Job) -> "Outcome":
        """The job has ended, with the status it has now."""
        claim = str(job.meta.get(CLAIM, ""))
        key = queue.namespace(f"unique:{claim}") if claim else ""
        return cls._of(queue, job, "finish", job.ttl, key)

    @classmethod
    def retry(cls, queue: "LeasedQueue", job: Job, delay: float) -> "Outcome":
        """The job gets another attempt after `delay` seconds."""
        return cls._of(queue, job, "retry", delay)

    @classmethod
    def hand_back(cls, queue: "LeasedQueue", job: Job) -> "Outcome":
        """The job goes back to the front of its list."""
        return cls._of(queue, job, "return", 0)

    @classmethod
    def unreadable(cls, key: str, lease: str, stored: bytes | str) -> "Outcome":
        """What is stored is no job: it leaves the queue, and is kept for UNREADABLE_TTL to be looked at."""
        return cls("finish", key, lease, text(stored), Status.FAILED.value, UNREADABLE_TTL, "normal", "")

    @classmethod
    def _of(cls, queue: "LeasedQueue", job: Job, kind: str, number: float, claim: str = "") -> "Outcome":
        # SAQ's HTTP proxy hands statuses over as text.
        status = job.status.value if type(job.status) is Status else str(job.status)
        lease = job.lease if type(job) is EngineJob else ""
        return cls(kind, job.key, lease, text(queue.serialize(job)), status, number, level_of(job), claim)


async def settle(queue: "LeasedQueue", outcomes: Sequence[Outcome], *, expired: bool = False) -> list[bool]:
    """Write outcomes in one script call.

    Args:
        queue: the queue.
        outcomes: at most a few hundred.
        expired: True to write only those whose lease has run out.

    Returns:
        False for each whose lease was lost.
    """
    answers = await queue.scripts.run("settle", int(expired), pack(outcomes))
    return [answer == 1 for answer in answers]


def count(queue: "LeasedQueue", outcome: Outcome) -> None:
    """Add an outcome to the statistics that workers report, as SAQ counts them."""
    if outcome.kind != "finish":
        queue.retried += 1
    elif outcome.status == Status.COMPLETE:
        queue.complete += 1
    elif outcome.status == Status.FAILED:
        queue.failed += 1
    else:
        queue.aborted += 1


class Outcomes:
    """The outcomes of one worker that wait to be written.

    A write that fails is repeated until Redis is back: the job has run, and does not run again for it.

    Args:
        queue: the queue.
        written: called with a job's key and lease once its outcome is written, or refused.
    """

    def __init__(self, queue: "LeasedQueue", written: Callable[[str, str], None]) -> None:
        self._queue = queue
        self._written = written
        self._waiting: list[tuple[Outcome, Job | None]] = []
        self._writer: asyncio.Task[None] | None = None
        self.closing = asyncio.Event()
        """Once set, a write that fails is given up: the leases run out, and the jobs are recovered."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, outcome: Outcome, job: Job | None) -> None:
        """Write an outcome with the next batch; then what became of the job is remembered, if there is one."""
        self._waiting.append((outcome, job))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())

    async def flushed(self) -> None:
        """Wait until all are written, or given up."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        while self._waiting:
            batch = self._waiting[:CHUNK]
            try:
                answers = await self._settle([outcome for outcome, _ in batch])
            except (RedisError, OSError) as error:
                if self.closing.is_set():
                    logger.error("queue %s: %d outcomes are lost with Redis", self._queue.name, len(self._waiting))
                    return
                await self._queue.outage.pause(error, self.closing)
                continue
            self._queue.outage.over()
            del self._waiting[: len(batch)]
            for (outcome, job), held in zip(batch, answers, strict=True):
                self._tell(outcome, job, held)

    async def _settle(self, batch: Sequence[Outcome]) -> list[bool]:
        """Write a batch; one that Redis does not take does not keep the others from being written."""
        try:
            return await settle(self._queue, batch)
        except REDIS_AWAY:
            raise
        except ResponseError as error:
            if len(batch) == 1:
                logger.error("Redis refuses the outcome of the job %s: %s", batch[0].key, error)
                return [False]
            return [held for outcome in batch for held in await self._settle([outcome])]

    def _tell(self, outcome: Outcome, job: Job | None, held: bool) -> None:
        self._written(outcome.key, outcome.lease)
        if held:
            count(self._queue, outcome)
            if job is not None and outcome.kind != "return":
                self._queue.record(job)
        else:
            logger.warning("the job %s was taken over; what this attempt did to it does not count", outcome.key)
