"""Outcomes: how jobs ended or go on, written many at a time, each only under the lease it was reached under."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec
from saq import Job
from saq.job import Status
from saq.utils import now

from saqueduct.broker.outage import REDIS_AWAY
from saqueduct.broker.scripts import pack, text
from saqueduct.broker.sizes import fitting
from saqueduct.common.text import decoded, storable
from saqueduct.queue.unrecorded import mark_to_keep
from saqueduct.tasks.job import EngineJob, level_of
from saqueduct.tasks.job_changes import repair
from saqueduct.tasks.job_meta import CLAIM

if TYPE_CHECKING:
    from saqueduct.queue.saq_queue import LeasedQueue
    from saqueduct.worker.leases import Held

logger = logging.getLogger("saqueduct")

CHUNK = 200
"""Outcomes written by one script call."""

RECORDED = ("finish", "retry")
"""Kinds of outcomes that are remembered: an attempt has been made."""

LAST_WRITE = 3.0
"""Seconds that Redis gets to take the outcomes of a worker that ends."""

UNREADABLE_TTL = 24 * 60 * 60
"""Seconds for which a job is kept that cannot be read, or whose outcome was refused."""


class How(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What an outcome may have in common with others, as `scripts/settle.lua` takes it."""

    kind: str
    lease: str
    status: Status | str
    """SAQ's HTTP proxy hands statuses over as text."""
    number: float
    """Seconds: the time to live of what has ended, the delay of what goes on."""
    level: str = "normal"
    claim: str = ""
    mark: str = ""
    """Under which the end is kept in Redis until PostgreSQL has it, see `unrecorded.py`; empty: it is not."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What becomes of one job."""

    key: str
    job: str | msgspec.Raw
    """As it is stored."""
    how: How

    @classmethod
    def finish(cls, queue: "LeasedQueue", job: Job) -> "Outcome":
        """The job has ended, with the status it has now."""
        claim = job.meta.get(CLAIM) if job.meta else None
        key = queue.namespace(f"unique:{claim}") if claim else ""
        mark = "" if queue.recorder is None else mark_to_keep(queue, job)
        lease = job.lease if type(job) is EngineJob else ""
        how = How("finish", lease, job.status, job.ttl, level_of(job), key, mark)
        stored = queue.serialize(job)
        return cls(job.key, stored if isinstance(stored, str) else text(stored), how)

    @classmethod
    def retry(cls, queue: "LeasedQueue", job: Job, delay: float) -> "Outcome":
        """The job gets another attempt after `delay` seconds."""
        return cls(job.key, text(queue.serialize(job)), How("retry", _lease(job), job.status, delay, level_of(job)))

    @classmethod
    def hand_back(cls, queue: "LeasedQueue", job: Job) -> "Outcome":
        """The job goes back to the front of its list."""
        return cls(job.key, text(queue.serialize(job)), How("return", _lease(job), job.status, 0, level_of(job)))

    @classmethod
    def postpone(cls, queue: "LeasedQueue", job: Job, delay: float) -> "Outcome":
        """The job goes back as if it had never been leased, and waits for `delay` seconds."""
        return cls(job.key, text(queue.serialize(job)), How("postpone", _lease(job), job.status, delay, level_of(job)))

    @classmethod
    def unreadable(cls, key: str, lease: str, stored: bytes | str) -> "Outcome":
        """What is stored is no job: it leaves the queue, and is kept for UNREADABLE_TTL to be looked at."""
        return cls(key, text(stored), How("finish", lease, Status.FAILED, UNREADABLE_TTL))

    def unrecorded(self, mark: str) -> "Outcome":
        """The same, kept in Redis under a mark until PostgreSQL has it; empty: PostgreSQL has it."""
        return Outcome(self.key, self.job, msgspec.structs.replace(self.how, mark=mark))

    def refused(self) -> "Outcome":
        """The same, without what may have been refused."""
        return Outcome(self.key, self.job, msgspec.structs.replace(self.how, number=UNREADABLE_TTL, claim=""))


def _lease(job: Job) -> str:
    return job.lease if type(job) is EngineJob else ""


async def settle(queue: "LeasedQueue", outcomes: Sequence[Outcome], *, expired: bool = False) -> list[bool | str]:
    """Write outcomes in one script call.

    Args:
        queue: the queue.
        outcomes: at most a few hundred.
        expired: True to write only those whose lease has run out.

    Returns:
        For each True, False if its lease was lost, or why it is to be aborted instead of going on.
    """
    groups = [
        (how, [part for each in alike for part in (each.key, each.job)])
        for how, alike in groupby(outcomes, attrgetter("how"))
    ]
    answers = await queue.scripts.run("settle", int(expired), pack(groups))
    if not answers:
        return [True] * len(outcomes)
    return [decoded(answer) if isinstance(answer, bytes) else answer == 1 for answer in answers]


async def settle_each(
    queue: "LeasedQueue", batch: Sequence[tuple[Outcome, Job | None]], *, expired: bool = False
) -> list[tuple[Outcome, bool]]:
    """Write outcomes; one that Redis refuses keeps no other from being written, and ends its own job.

    Args:
        queue: the queue.
        batch: outcomes, each with its job if it can be read.
        expired: as in `settle`.

    Returns:
        For each what was written, and False where the lease was lost.
    """
    try:
        answers = await settle(queue, [outcome for outcome, _ in batch], expired=expired)
    except REDIS_AWAY:
        raise
    except Exception as error:
        if len(batch) > 1:
            return [one for each in batch for one in await settle_each(queue, [each], expired=expired)]
        logger.error("the outcome of the job %s is refused: %s", batch[0][0].key, error)
        return [await _settle_refused(queue, *batch[0], str(error), expired)]
    return [
        (outcome, answer) if isinstance(answer, bool) else await _abort_instead(queue, outcome, job, answer, expired)
        for (outcome, job), answer in zip(batch, answers, strict=True)
    ]


async def _abort_instead(
    queue: "LeasedQueue", outcome: Outcome, job: Job | None, reason: str, expired: bool
) -> tuple[Outcome, bool]:
    """End a job that somebody wants aborted, and whose attempt has come to another."""
    if job is None:
        return outcome, False
    [aborted] = await settle_each(queue, [(_ended(queue, job, Status.ABORTED, reason), job)], expired=expired)
    return aborted


async def _settle_refused(
    queue: "LeasedQueue", outcome: Outcome, job: Job | None, error: str, expired: bool
) -> tuple[Outcome, bool]:
    """End a job without what may have been refused: a job that nobody can settle would run again and again."""
    for end in _ends(queue, outcome, job, f"its outcome is refused: {error}"):
        try:
            [answer] = await settle(queue, [end], expired=expired)
        except REDIS_AWAY:
            raise
        except Exception:
            logger.exception("the job %s cannot be ended", outcome.key)
        else:
            return end, answer is True
    return outcome, False


def _ends(queue: "LeasedQueue", outcome: Outcome, job: Job | None, error: str) -> Iterator[Outcome]:
    """Ways to end a job whose outcome is refused."""
    if outcome.how.kind == "finish":
        yield outcome.refused()
    if job is not None:
        yield _ended(queue, job, Status.FAILED, error).refused()


def _ended(queue: "LeasedQueue", job: Job, status: Status, error: str) -> Outcome:
    """The end of a job; one that cannot be encoded, as a task has spoilt it, ends without what cannot."""
    lease = _lease(job)
    job.status, job.error, job.completed = status, error, now()
    try:
        return Outcome.finish(queue, job)
    except Exception as spoilt:
        logger.error("the job %s ends without what cannot be encoded: %s", job.key, spoilt)
    try:
        repair(job)
        job.status, job.error, job.completed = status, storable(error), now()
        return Outcome.finish(queue, job)
    except Exception:
        return Outcome.unreadable(job.key, lease, "")


def count(queue: "LeasedQueue", outcome: Outcome) -> None:
    """Add an outcome to the statistics that workers report, as SAQ counts them."""
    if outcome.how.status == Status.COMPLETE:
        queue.complete += 1
    elif outcome.how.kind == "postpone":
        return
    elif outcome.how.kind != "finish":
        queue.retried += 1
    elif outcome.how.status == Status.FAILED:
        queue.failed += 1
    else:
        queue.aborted += 1


def sizes(outcomes: Sequence[tuple[Outcome, Job | None]]) -> list[int]:
    """How large outcomes are, for `sizes.fitting`."""
    return [len(outcome.job) for outcome, _ in outcomes]


class Outcomes:
    """The outcomes of one worker that wait to be written.

    A write that fails is repeated until Redis is back: the job has run, and does not run again for it.

    Args:
        queue: the queue.
        written: called with the keys and leases of jobs once their outcomes are written, or refused.
    """

    def __init__(self, queue: "LeasedQueue", written: Callable[[Sequence["Held"]], None]) -> None:
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

    async def close(self) -> None:
        """Wait until all are written, or given up: what is not written within LAST_WRITE too."""
        self.closing.set()
        if self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer], timeout=LAST_WRITE)
            self._writer.cancel()
            await asyncio.wait([self._writer])
        if self._waiting:
            logger.error("queue %s: %d outcomes are lost with Redis", self._queue.name, len(self._waiting))

    async def _write_all(self) -> None:
        while self._waiting:
            batch = self._waiting[: fitting(self._waiting, CHUNK, sizes)]
            try:
                answers = await self._settled(batch)
            except REDIS_AWAY as error:
                if self.closing.is_set():
                    return
                await self._queue.outage.pause(error, self.closing)
                continue
            self._queue.outage.over()
            del self._waiting[: len(batch)]
            self._written([(outcome.key, outcome.how.lease) for outcome, _ in batch])
            for (_, job), (outcome, held) in zip(batch, answers, strict=True):
                if not held:
                    logger.warning("the job %s was taken over; what this attempt did to it does not count", outcome.key)
                    continue
                count(self._queue, outcome)
                if job is not None and outcome.how.kind in RECORDED:
                    self._queue.record(job)

    async def _settled(self, batch: Sequence[tuple[Outcome, Job | None]]) -> Sequence[tuple[Outcome, bool]]:
        try:
            return await settle_each(self._queue, batch)
        except REDIS_AWAY:
            raise
        except Exception:
            # Whatever it is, it must not keep all later outcomes from being written.
            logger.exception("%d outcomes cannot be written; their jobs are recovered", len(batch))
            return [(outcome, False) for outcome, _ in batch]
