"""Outcomes: how attempts ended, written in batches; each is only written if the lease of its attempt still holds."""

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import msgspec
from saq import Job
from saq.job import Status
from saq.utils import now

from saqueduct.broker.outage import REDIS_AWAY
from saqueduct.broker.scripts import pack, text
from saqueduct.common.text import decoded, storable
from saqueduct.queue.core import QueueCore
from saqueduct.tasks.job import EngineJob, level_of
from saqueduct.tasks.job_changes import repair
from saqueduct.tasks.job_meta import CLAIM, EXPIRES_AT, LIMITS, REPLACED_BY

logger = logging.getLogger("saqueduct")

OUTCOMES_AT_ONCE = 200
"""Outcomes written by one script call."""

COMPLETE = Status.COMPLETE

UNREADABLE_TTL = 24 * 60 * 60
"""Seconds to keep a job that cannot be read, or whose outcome was refused."""


class How(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The part of an outcome that others may share, in the form that `lua/settle.lua` expects."""

    kind: str
    lease: str
    status: Status | str
    """SAQ's HTTP proxy passes statuses as text."""
    number: float
    """Seconds: the time to live of a job that ended, the delay of a job that continues."""
    level: str = "normal"
    claim: str = ""
    """The claim that a job which ends releases, and that of a debounced job which continues: while it has that."""
    mark: str = ""
    """Mark under which the end is kept in Redis until PostgreSQL has it, see `unrecorded.py`; empty: not kept."""


class Closing(How, frozen=True, kw_only=True):
    """The same, for an attempt that closes a gate. Only such outcomes pay for these fields."""

    gate: str
    """The limit and the key, see `lua/limits.lua`."""
    seconds: float
    """How long it is closed."""
    expires: str = ""
    """Epoch seconds after which the job must not start; empty: none."""


class Replaced(NamedTuple):
    """A debounced job does not continue, because a later call was made while it ran.

    `by`: the key of that call's job; empty: it has ended.
    """

    by: str

    def end(self, job: Job) -> str:
        """Note in the job what took its place; returns the reason of its end."""
        if self.by:
            job.meta[REPLACED_BY] = self.by
        return f"replaced by {self.by or 'a later call'}"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The outcome of an attempt, for one job."""

    key: str
    job: str | msgspec.Raw
    """The job as it is stored."""
    how: How

    @classmethod
    def finish(cls, core: QueueCore, job: Job) -> "Outcome":
        """The job has ended, with its current status."""
        # A branch for the common cases, which saves calls: nothing in `meta`, or its limits alone.
        key = mark = ""
        if job.meta and (len(job.meta) > 1 or LIMITS not in job.meta):
            claim = job.meta.get(CLAIM)
            key, mark = core.namespace(f"unique:{claim}") if claim else "", core.mark_to_keep(job)
        elif job.attempts > 1 or job.status != COMPLETE:
            mark = core.mark_to_keep(job)
        lease = job.lease if type(job) is EngineJob else ""
        how = How("finish", lease, job.status, job.ttl, level_of(job) if job.priority else "normal", key, mark)
        stored = core.serialize(job)
        return cls(job.key, stored if isinstance(stored, str) else text(stored), how)

    @classmethod
    def retry(cls, core: QueueCore, job: Job, delay: float) -> "Outcome":
        """The job gets another attempt after `delay` seconds."""
        return cls._going_on(core, job, "retry", delay)

    @classmethod
    def release(cls, core: QueueCore, job: Job) -> "Outcome":
        """The job goes back to the front of its list."""
        return cls._going_on(core, job, "return", 0)

    @classmethod
    def postpone(cls, core: QueueCore, job: Job, delay: float) -> "Outcome":
        """The job is released as if it had never been leased, and waits for `delay` seconds."""
        return cls._going_on(core, job, "postpone", delay)

    @classmethod
    def _going_on(cls, core: QueueCore, job: Job, kind: str, delay: float) -> "Outcome":
        how = How(kind, _lease(job), job.status, delay, level_of(job), core.claim_to_keep(job))
        return cls(job.key, text(core.serialize(job)), how)

    @classmethod
    def throttle(cls, core: QueueCore, job: Job, gate: str, seconds: float) -> "Outcome":
        """The job goes back to the front of its lane, as if it had never been leased, and the gate is closed."""
        expires = job.meta.get(EXPIRES_AT)
        how = Closing(
            "throttle",
            _lease(job),
            job.status,
            seconds,
            level_of(job),
            core.claim_to_keep(job),
            gate=gate,
            seconds=seconds,
            expires="" if expires is None else repr(expires),
        )
        return cls(job.key, text(core.serialize(job)), how)

    @classmethod
    def unreadable(cls, key: str, lease: str, stored: bytes | str) -> "Outcome":
        """The stored data is not a job: it leaves the queue, and is kept for UNREADABLE_TTL for inspection."""
        return cls(key, text(stored), How("finish", lease, Status.FAILED, UNREADABLE_TTL))

    def closing(self, gate: str, seconds: float) -> "Outcome":
        """The same outcome, which also closes a gate for so many seconds."""
        how = self.how
        closing = Closing(
            how.kind, how.lease, how.status, how.number, how.level, how.claim, how.mark, gate=gate, seconds=seconds
        )
        return Outcome(self.key, self.job, closing)

    def unrecorded(self, mark: str) -> "Outcome":
        """The same outcome, kept in Redis under a mark until PostgreSQL has it; empty: PostgreSQL has it."""
        return Outcome(self.key, self.job, msgspec.structs.replace(self.how, mark=mark))

    def refused(self) -> "Outcome":
        """The same outcome, without the parts that Redis may have refused."""
        return Outcome(self.key, self.job, msgspec.structs.replace(self.how, number=UNREADABLE_TTL, claim=""))


def _read(answer: int | bytes | list[bytes]) -> bool | str | Replaced:
    """An answer of `lua/settle.lua`."""
    if isinstance(answer, list):
        return Replaced(decoded(answer[0]))
    return decoded(answer) if isinstance(answer, bytes) else answer == 1


def _lease(job: Job) -> str:
    return job.lease if type(job) is EngineJob else ""


class Settler:
    """Writes the outcomes of one queue's jobs.

    Args:
        core: of the queue.
    """

    def __init__(self, core: QueueCore) -> None:
        self._core = core

    async def settle(self, outcomes: Sequence[Outcome], *, expired: bool = False) -> list[bool | str | Replaced]:
        """Write outcomes in one script call.

        Args:
            outcomes: the outcomes, at most a few hundred.
            expired: True to write only those whose lease has run out.

        Returns:
            For each True, False if its lease was lost, or why the job must end aborted instead of continuing.
        """
        scripts = self._core.scripts
        prefix = scripts.prefix
        ids = [prefix + each.key for each in outcomes]
        hows: list[How | int] = []
        last = 0
        for how, alike in groupby(map(attrgetter("how"), outcomes)):
            last += len(list(alike))
            hows += (how, last)
        packed = pack((hows, ids, [each.job for each in outcomes]))
        answers = await scripts.run("settle", int(expired), packed, int(len(set(ids)) < len(ids)))
        if not answers:
            return [True] * len(outcomes)
        return [_read(answer) for answer in answers]

    async def settle_each(
        self, batch: Sequence[tuple[Outcome, Job | None]], *, expired: bool = False
    ) -> list[tuple[Outcome, bool]]:
        """Write outcomes; one that Redis refuses does not prevent others from being written, and ends its own job.

        Args:
            batch: outcomes, each with its job if it can be read.
            expired: as in `settle`.

        Returns:
            For each the outcome that was written, or False if the lease was lost.
        """
        try:
            answers = await self.settle([outcome for outcome, _ in batch], expired=expired)
        except REDIS_AWAY:
            raise
        except Exception as error:
            if len(batch) > 1:
                return [one for each in batch for one in await self.settle_each([each], expired=expired)]
            logger.error("the outcome of the job %s is refused: %s", batch[0][0].key, error)
            return [await self._settle_refused(*batch[0], str(error), expired)]
        return [
            (outcome, answer) if isinstance(answer, bool) else await self._abort_instead(outcome, job, answer, expired)
            for (outcome, job), answer in zip(batch, answers, strict=True)
        ]

    async def _abort_instead(
        self, outcome: Outcome, job: Job | None, why: "str | Replaced", expired: bool
    ) -> tuple[Outcome, bool]:
        """End a job whose abort was requested, or which is replaced, although its attempt had another outcome."""
        if job is None:
            return outcome, False
        reason = why if isinstance(why, str) else why.end(job)
        [aborted] = await self.settle_each([(self._ended(job, Status.ABORTED, reason), job)], expired=expired)
        return aborted

    async def _settle_refused(
        self, outcome: Outcome, job: Job | None, error: str, expired: bool
    ) -> tuple[Outcome, bool]:
        """End a job without the parts that may have been refused: a job that cannot be settled would run repeatedly."""
        for end in self._ends(outcome, job, f"its outcome is refused: {error}"):
            try:
                [answer] = await self.settle([end], expired=expired)
            except REDIS_AWAY:
                raise
            except Exception:
                logger.exception("the job %s cannot be ended", outcome.key)
            else:
                return end, answer is True
        return outcome, False

    def _ends(self, outcome: Outcome, job: Job | None, error: str) -> Iterator[Outcome]:
        """Ways to end a job whose outcome was refused, in the order to try."""
        if outcome.how.kind == "finish":
            yield outcome.refused()
        if job is not None:
            yield self._ended(job, Status.FAILED, error).refused()

    def _ended(self, job: Job, status: Status, error: str) -> Outcome:
        """The end of a job; fields that cannot be encoded, because a task changed them, are dropped."""
        lease = _lease(job)
        job.status, job.error, job.completed = status, error, now()
        try:
            return Outcome.finish(self._core, job)
        except Exception as spoilt:
            logger.error("the job %s ends without what cannot be encoded: %s", job.key, spoilt)
        try:
            repair(job)
            job.status, job.error, job.completed = status, storable(error), now()
            return Outcome.finish(self._core, job)
        except Exception:
            return Outcome.unreadable(job.key, lease, "")

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes in the statistics that workers report, as SAQ does."""
        others = [outcome for outcome in outcomes if outcome.how.status != COMPLETE]
        self._core.saq.complete += len(outcomes) - len(others)
        for outcome in others:
            if outcome.how.kind in ("postpone", "throttle"):
                continue
            if outcome.how.kind != "finish":
                self._core.saq.retried += 1
            elif outcome.how.status == Status.FAILED:
                self._core.saq.failed += 1
            else:
                self._core.saq.aborted += 1


def sizes(outcomes: Sequence[tuple[Outcome, Job | None]]) -> list[int]:
    """The sizes of outcomes, for `sizes.fitting`."""
    return [len(outcome.job) for outcome, _ in outcomes]
