"""One action on all jobs that match, batch by batch, as a job carries it out."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal

import msgspec
from saq import Job
from saq.job import Status
from sqlalchemy import JSON, and_, cast, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.common.moments import milliseconds
from saqueduct.errors import InvalidSearch, QueueError, QueueUnavailable
from saqueduct.postgres.audit_batches import Target
from saqueduct.postgres.base import in_schema
from saqueduct.postgres.change_evidence import Evidence
from saqueduct.postgres.dead_letters import DeadLetters, Resolved
from saqueduct.postgres.history import JobHistory
from saqueduct.postgres.job_audit import JobAudit
from saqueduct.postgres.models import JobRecord, OutboxJob
from saqueduct.postgres.record_filter import DeadLetterFilter, RecordFilter
from saqueduct.queue.audit import AuditEntry, Kind
from saqueduct.queue.listing import LIVE, JobListing, LiveState
from saqueduct.queue.queues import Queues
from saqueduct.tasks.definition import TaskLookup

Change = Literal["abort", "retry", "discard"]

KINDS: Final[Mapping[Change, Kind]] = {"abort": "job", "retry": "job", "discard": "dead letter"}
"""What the audit calls the targets of each change."""

TASK: Final = "change_jobs"
"""Name of the task."""

REPLAY: Final = "replay_dead_letters"
"""Name of the task that replays dead letters: as long as one waits or runs, no other such job begins."""

LOCK: Final = 0x5A9C4A11
"""Key of the advisory lock: one job at a time."""

BATCH: Final = 100
"""Jobs between two reports of progress."""

CONCURRENT_CHANGES: Final = 20
"""Jobs that are changed at the same time."""

NAMED: Final = 50
"""Jobs that could not be changed, and are named in the result."""

BOTH: Final[tuple[LiveState, ...]] = ("waiting", "active")
"""States of jobs that have not ended."""

POSSIBLE: Final[Mapping[Change, Sequence[str]]] = {
    "abort": ("queued", "active"),
    "retry": ("complete", "failed", "aborted"),
    "discard": ("failed",),
}
"""Statuses of the jobs that can be changed so."""

ENDED: Final = ("failed", "aborted")
"""Statuses of the jobs that are retried unless the filter says which."""


async def under_way(session: AsyncSession, schema: str | None) -> str | None:
    """The key of the job that changes many and has not ended; None: there is none, and no other transaction can write
    one before this one ends.

    Redis cannot say it: the last one may be only in the outbox. A durable job stays there until it has ended.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    function = cast(OutboxJob.job, JSON)["function"].as_string()
    changes = and_(OutboxJob.unique.is_not(None), function == TASK)
    query = select(OutboxJob.key).where(OutboxJob.durable, or_(changes, function == REPLAY)).limit(1)
    key: str | None = await session.scalar(query, execution_options=in_schema(schema))
    return key


@dataclasses.dataclass
class Changes:
    """Changes all jobs that match and existed before a moment.

    An outage ends the attempt, which is postponed: those that could not be reached are not counted as refused.

    Args:
        queues: of the application.
        tasks: likewise.
        transaction: opens a session that commits.
        job: that carries it out and reports the progress; jobs of its task are not changed.
        change: what is done.
        which: the filter.
        before: jobs that were enqueued or have ended later are left alone, so that another attempt repeats nothing.
        by, why: for the audit, the jobs and their records.
        count: how many match, for the progress.
    """

    queues: Queues
    tasks: TaskLookup
    transaction: Callable[[], AbstractAsyncContextManager[AsyncSession]]
    job: Job
    change: Change
    which: RecordFilter
    before: dt.datetime
    by: str
    why: str
    count: int
    done: int = 0
    """By all attempts."""
    not_possible: int = 0
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    _tried: set[str] = dataclasses.field(default_factory=set)
    """Ids of live jobs that stay in their list for a while."""

    def __post_init__(self) -> None:
        self._action = AuditEntry(
            person=self.by, action=self.change, kind=KINDS[self.change], targets=[self.job.key], count=0,
            filter=self.which.described(), why=self.why, surface="job",
        )  # fmt: skip
        self._evidence = Evidence(self.queues, self.change, self.before, self.by, self.why)
        until = self.before if self.which.until is None else min(self.before, self.which.until)
        self.which = msgspec.structs.replace(self.which, until=until)

    def check(self) -> None:
        """Check that the change is possible with what the filter names.

        Raises:
            InvalidSearch: no job of that status can be changed so.
            UnknownQueue: no job of that queue can be aborted here.
        """
        possible = POSSIBLE[self.change]
        if self.which.status not in (None, *possible):
            raise InvalidSearch(
                f"{self.change} with status={self.which.status!r}: it is possible with {', '.join(possible)}; "
                "name one of these, or none"
            )
        if self.change == "abort" and self.which.queue is not None:
            self.queues.look_up(self.which.queue)

    async def make(self) -> dict[str, Any]:
        """Carry it out; returns how many were changed by all attempts, how many could not be, and why some of those."""
        await self._count_earlier_attempts()
        await {"abort": self._abort, "retry": self._retry, "discard": self._discard}[self.change]()
        return {"changed": self.done, "not_possible": self.not_possible, "refused": self.refused}

    async def _count_earlier_attempts(self) -> None:
        """Count what they have changed, also in the batch within which one of them ended."""
        async with self.transaction() as session:
            audit = self._audit(session)
            self.done, (plans, planned) = await audit.counted(), await audit.planned()
        if not plans:
            return
        done = []
        for target in planned:
            async with self.transaction() as session:
                if await self._evidence.shows(target, JobHistory(session, self._schema)):
                    done.append(target)
        async with self.transaction() as session:
            settled = await self._audit(session).settle(plans, done)
        self.done += len(done) if settled else 0

    async def _abort(self) -> None:
        state = LIVE.get(self.which.status or "")
        for each in (state,) if state else BOTH:
            # Jobs leave the lists while these are read: again, until a reading finds none.
            while await self._abort_listed(each):
                pass

    async def _abort_listed(self, state: LiveState) -> bool:
        queues = list(self.queues) if self.which.queue is None else [self.queues.look_up(self.which.queue)]
        found, cursor, aborted = JobListing(queues, state), None, self.done
        # The status is that of the listing.
        which = msgspec.structs.replace(self.which, status=None)

        def wanted(job: Job) -> bool:
            return job.function != self.job.function and job.id not in self._tried and which.matches(job)

        async def abort(job: Job) -> None:
            if job.status is Status.ACTIVE:
                self._tried.add(job.id)
            try:
                await self.queues.get(job.get_queue().name).abort_by_hand(job, self._evidence.reason)
            except QueueError:
                self._tried.add(job.id)
                raise

        while True:
            jobs, cursor = await found.page(wanted, cursor, BATCH, which.words)
            await self._each(jobs, abort, lambda job: job.get_queue().name)
            if cursor is None:
                return self.done > aborted

    async def _retry(self) -> None:
        statuses = ENDED if self.which.status is None else (self.which.status,)
        for status in statuses:
            which, cursor = msgspec.structs.replace(self.which, status=status), None
            while True:
                async with self.transaction() as session:
                    history = JobHistory(session, self._schema, tasks=self.tasks)
                    page = await history.page(which, cursor, BATCH, self._portion)
                cursor = page.cursor
                chosen = [each for each in page.records if self._is_to_retry(each)]
                await self._each(chosen, self._retry_one, lambda record: record.queue)
                if cursor is None:
                    break

    def _is_to_retry(self, record: JobRecord) -> bool:
        earlier = record.ended_at is None or record.ended_at < self.before
        return earlier and record.resolution is None and record.task != self.job.function

    async def _retry_one(self, record: JobRecord) -> None:
        queue = self.queues.look_up(record.queue)
        job = await queue.fetch(record.key)
        if job is not None and (job.unreadable or job.queued == milliseconds(record.queued_at)):
            await queue.retry_by_hand(job)
            return
        # Redis has forgotten it, or has a later job of its key; a dead letter is enqueued again.
        async with self.transaction() as session:
            letters = DeadLetters(session, self.queues, self.tasks)
            job_id = queue.job_id(record.key)
            await letters.replay(job_id, by=self.by, why=self.why, queued_at=record.queued_at)
        await letters.confirm()

    async def _discard(self) -> None:
        so_far, more = Resolved(done=self.done, until=self.before, failed_before=self.before), True
        values = msgspec.structs.asdict(self.which)
        while more:
            async with self.transaction() as session:
                letters = DeadLetters(session, self.queues, self.tasks)
                more = await letters.discard_some(DeadLetterFilter(**values), so_far, by=self.by, why=self.why)
                await self._audit(session).count(so_far.batch)
            self.done = so_far.done
            await self._report()

    async def _each(
        self, jobs: Sequence[Any], change: Callable[[Any], Awaitable[Any]], queue_of: Callable[[Any], str]
    ) -> None:
        """Change some jobs, several at a time, and report it."""
        batch = _Batch({id(job): Target(job.key, queue_of(job)) for job in jobs}, change, self._refuse)
        async with self.transaction() as session:
            plans = await self._audit(session).plan(batch.targets.values())
        try:
            await batch.run(jobs)
        finally:
            async with self.transaction() as session:
                settled = await self._audit(session).settle(plans, batch.done, batch.unknown)
            # Otherwise this attempt has lost its lease, and the next one has counted them.
            self.done += len(batch.done) if settled else 0
        if batch.failures:
            raise batch.failures[0]
        await self._report()

    def _refuse(self, key: str, error: QueueError) -> None:
        self.not_possible += 1
        if len(self.refused) < NAMED:
            self.refused[key] = str(error)

    def _audit(self, session: AsyncSession) -> JobAudit:
        return JobAudit(session, self._schema, self._action, self.job)

    async def _report(self) -> None:
        await self.job.update(progress=min(1.0, (self.done + self.not_possible) / max(1, self.count)))

    @property
    def _portion(self) -> int | None:
        return None if self.queues.store is None else self.queues.store.sizes.searched_records

    @property
    def _schema(self) -> str | None:
        return None if self.queues.store is None else self.queues.store.schema


@dataclasses.dataclass
class _Batch:
    """Jobs that are changed at the same time.

    Args:
        targets: by the id of the object.
        change: changes one.
        refuse: called with the key of a job that could not be changed, and why.
    """

    targets: Mapping[int, Target]
    change: Callable[[Any], Awaitable[Any]]
    refuse: Callable[[str, QueueError], None]
    done: list[Target] = dataclasses.field(default_factory=list)
    unknown: list[Target] = dataclasses.field(default_factory=list)
    """Without an answer: they may have been changed all the same."""
    failures: list[BaseException] = dataclasses.field(default_factory=list)
    """After the first one, no other change begins."""
    _stopped: bool = False

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(CONCURRENT_CHANGES)

    async def run(self, jobs: Sequence[Any]) -> None:
        """Change them."""
        changes = asyncio.gather(*(self._one(job) for job in jobs))
        try:
            await asyncio.shield(changes)
        except asyncio.CancelledError:
            # The job that does it is aborted, or its worker stops: those that are under way end, and are noted.
            self._stopped = True
            await changes
            raise

    async def _one(self, job: Any) -> None:
        async with self._places:
            if self.failures or self._stopped:
                return
            try:
                await self.change(job)
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, QueueError) and not isinstance(error, QueueUnavailable):
                    self.refuse(job.key, error)
                else:
                    self.unknown.append(self.targets[id(job)])
                    self.failures.append(error)
            else:
                self.done.append(self.targets[id(job)])
