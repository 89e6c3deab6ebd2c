"""Dead letters: jobs that failed for good and wait to be replayed or discarded."""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from saq import Job
from sqlalchemy import func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.common.clock import time_now
from saqueduct.common.text import storable
from saqueduct.errors import (
    DeadLetterNotFound,
    DuplicateJob,
    InvalidArguments,
    JobConflict,
    QueueError,
    QueueUnavailable,
)
from saqueduct.postgres.asked_by import asked_by
from saqueduct.postgres.audit import AuditLog
from saqueduct.postgres.audit_batches import Target
from saqueduct.postgres.base import in_schema
from saqueduct.postgres.history import DEAD, conditions
from saqueduct.postgres.index_order import in_index_order
from saqueduct.postgres.job_audit import JobAudit
from saqueduct.postgres.models import DISCARDED, REPLAYED, JobRecord
from saqueduct.postgres.record_filter import DeadLetterFilter, RecordFilter
from saqueduct.postgres.record_places import PLACE
from saqueduct.queue.audit import AuditEntry
from saqueduct.queue.queues import Queues
from saqueduct.tasks.bulk import bind, enqueue_many
from saqueduct.tasks.definition import TaskLookup
from saqueduct.tasks.handle import JobHandle
from saqueduct.tasks.job import own_fields
from saqueduct.tasks.job_meta import ATTEMPT_TRACE, REPLAY_OF, TAGS
from saqueduct.tasks.redaction import NOT_KEPT, REDACTED

BATCH = 100
"""Dead letters that one transaction replays or discards."""


@dataclasses.dataclass(slots=True)
class Resolved:
    """The progress of a call over many dead letters.

    Attributes:
        done: replayed or discarded.
        batch: those of the last batch.
        dropped: those of the last batch that turned out to be refused after the commit.
        refused: key -> reason, of those that cannot be replayed; they stay dead letters.
        after: where the next batch begins; None before the first.
        until: jobs enqueued then or later are left out: replayed jobs may have failed again.
        failed_before: those that failed then or later are left out as well; None: only the time of enqueue counts.
    """

    done: int = 0
    batch: list[Target] = dataclasses.field(default_factory=list)
    dropped: list[Target] = dataclasses.field(default_factory=list)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    after: tuple[dt.datetime, str, str] | None = None
    until: dt.datetime = dataclasses.field(default_factory=lambda: dt.datetime.fromtimestamp(time_now(), dt.UTC))
    failed_before: dt.datetime | None = None

    def add(self, record: JobRecord) -> None:
        """Count one."""
        self.done += 1
        self.batch.append(Target(record.key, record.queue))

    def refuse(self, letter: Target, reason: str) -> None:
        """Count one no longer, which turned out to be refused after the commit."""
        self.done -= 1
        self.dropped.append(letter)
        self.refused[letter.key] = reason


class _Made(NamedTuple):
    """A unique job that is enqueued when the session commits, unless another one exists by then."""

    handle: JobHandle[Any]
    task: str
    letter: Target
    """The dead letter that it replays; without a key for a job that replays or changes many."""
    so_far: Resolved | None
    """That counts it."""


class DeadLetters:
    """Replays and discards dead letters, each in the transaction of a session.

    A dead letter is locked and marked, and its new job written to the outbox, in one transaction: it is replayed once.

    Args:
        session: flushed, never committed.
        queues: of this process.
        tasks: all tasks.
        batch_size: dead letters that one call of `replay_some` or `discard_some` changes.
    """

    def __init__(self, session: AsyncSession, queues: Queues, tasks: TaskLookup, *, batch_size: int = BATCH) -> None:
        self.session = session
        """Of the caller."""
        self._queues = queues
        self._tasks = tasks
        self._batch_size = batch_size
        self._schema = None if queues.store is None else queues.store.schema
        self._options = in_schema(self._schema)
        self.audit = AuditLog(session, self._schema)
        """Notes actions in the same transaction."""
        self._made: list[_Made] = []

    def audit_of(self, job: Job, which: DeadLetterFilter, by: str, why: str) -> JobAudit:
        """The audit of a job that replays all that match, in the same transaction.

        Args:
            job: that one.
            which: the filter.
            by, why: as `replay`.
        """
        action = AuditEntry(
            person=by, action="replay", kind="dead letter", targets=[job.key], count=0, filter=which.described(),
            why=why, surface="job",
        )  # fmt: skip
        return JobAudit(self.session, self._schema, action, job)

    async def replay(
        self,
        key: str,
        *,
        by: str,
        why: str = "",
        arguments: Mapping[str, Any] | None = None,
        queue: str | None = None,
        queued_at: dt.datetime | None = None,
    ) -> str:
        """Enqueue a dead letter's job again when the session commits; returns the new job's key. See `confirm`.

        Args:
            key: of the dead letter, or SAQ's full id of its job.
            by: who replays it.
            why: the reason, kept in the record.
            arguments: replace the job's own arguments, by name; they must include the redacted ones.
            queue: replaces the job's queue.
            queued_at: of which of the jobs that had the key; None: the last one that failed.

        Raises:
            DeadLetterNotFound: no job with that key has failed.
            JobConflict: it has been replayed or discarded.
            DuplicateJob: the job is unique, and the session has enqueued another one.
            UnknownTask, UnknownQueue, InvalidArguments, PayloadTooLarge: it cannot be enqueued as it is.
        """
        record = await self._locked(key, queued_at)
        return await self._replay(record, by, why, arguments or {}, queue)

    async def enqueue(self, task: str, arguments: Mapping[str, Any]) -> Job:
        """Enqueue a job that replays or changes many, when the session commits.

        Raises:
            UnknownTask, InvalidArguments: nothing is enqueued.
        """
        call = bind(self._queues.tasks.get(task).options(session=self.session), arguments)
        [handle] = await enqueue_many([call])
        self._made.append(_Made(handle, task, Target("", None), None))
        return call.job

    async def confirm(self) -> None:
        """After the commit of the session, wait until it is known which of the unique jobs are enqueued.

        A dead letter whose job is not waits again, and is counted as refused; nothing is noted of an action that was
        refused whole. While Redis is unavailable, the jobs wait in the outbox, and it is not known.

        Raises:
            DuplicateJob: the job that replays one, or changes many, was dropped: another one exists.
        """
        made, self._made = self._made, []
        for job, task, letter, so_far in made:
            if await job.enqueued() or job.created:
                continue
            dropped = DuplicateJob(task, job.key)
            if so_far is not None:
                so_far.refuse(letter, str(dropped))
                continue
            if self._queues.store is not None:
                for entry in self.audit.added:
                    await self._queues.store.audit.settle(entry, None)
            raise dropped

    async def discard(self, key: str, *, by: str, why: str = "") -> None:
        """Discard a dead letter.

        Raises:
            DeadLetterNotFound, JobConflict: as `replay`.
        """
        await self._resolve([await self._locked(key)], DISCARDED, by, why)

    async def replay_some(
        self,
        which: DeadLetterFilter,
        so_far: Resolved,
        *,
        by: str,
        why: str = "",
        arguments: Mapping[str, Any] | None = None,
        queue: str | None = None,
        rate: float = 50.0,
    ) -> bool:
        """Replay the oldest dead letters, a batch of them. Call it, commit the session and `confirm`, until it returns
        False.

        Args:
            which: the filter.
            so_far: is updated.
            rate: jobs to start per second: each waits for its turn as a delayed job.
            by, why, arguments, queue: as `replay`.
        """
        batch = await self._batch(which, so_far)
        for number, record in enumerate(batch):
            try:
                async with self.session.begin_nested():
                    await self._replay(record, by, why, arguments or {}, queue, number / rate, so_far)
                so_far.add(record)
            except QueueUnavailable:
                # An outage is no reason to leave it out.
                raise
            except QueueError as error:
                so_far.refused[record.key] = str(error)
        return bool(batch)

    async def discard_some(self, which: DeadLetterFilter, so_far: Resolved, *, by: str, why: str = "") -> bool:
        """Discard a batch of dead letters, as `replay_some` replays them."""
        batch = await self._batch(which, so_far)
        await self._resolve(batch, DISCARDED, by, why)
        for record in batch:
            so_far.add(record)
        return bool(batch)

    async def count(self, which: RecordFilter) -> int:
        """How many dead letters match."""
        query = select(func.count()).select_from(JobRecord).where(*conditions(which, self._tasks), *DEAD)
        return (await self.session.scalars(query, execution_options=self._options)).one()

    async def _batch(self, which: RecordFilter, so_far: Resolved) -> Sequence[JobRecord]:
        query = select(JobRecord).where(*conditions(which, self._tasks), *DEAD, JobRecord.queued_at < so_far.until)
        if so_far.failed_before is not None:
            query = query.where(or_(JobRecord.ended_at.is_(None), JobRecord.ended_at < so_far.failed_before))
        if so_far.after is not None:
            query = query.where(tuple_(*PLACE) > tuple_(*so_far.after))
        query = query.order_by(*PLACE).limit(self._batch_size).with_for_update(skip_locked=True)
        async with in_index_order(self.session, which):
            batch = (await self.session.scalars(query, execution_options=self._options)).all()
        so_far.batch, so_far.dropped = [], []
        if batch:
            last = batch[-1]
            so_far.after = (last.queued_at, last.key, last.queue)
        return batch

    async def _locked(self, key: str, queued_at: dt.datetime | None = None) -> JobRecord:
        key, queue = self._queues.locate(key)
        if storable(key) != key:
            raise DeadLetterNotFound(key)
        query = select(JobRecord).where(JobRecord.key == key, JobRecord.status == "failed")
        if queue is not None:
            query = query.where(JobRecord.queue == queue)
        if queued_at is not None:
            query = query.where(JobRecord.queued_at == queued_at)
        query = query.order_by(JobRecord.queued_at.desc()).limit(1).with_for_update()
        options = {**self._options, "populate_existing": True}
        record = await self.session.scalar(query, execution_options=options)
        if record is None:
            raise DeadLetterNotFound(key)
        if record.resolution is not None:
            raise JobConflict(key, f"already {record.resolution}", "replayed or discarded again")
        return record

    async def _replay(
        self,
        record: JobRecord,
        by: str,
        why: str,
        changes: Mapping[str, Any],
        queue: str | None,
        delay: float = 0.0,
        so_far: Resolved | None = None,
    ) -> str:
        task = self._tasks.get(record.task)
        self._queues.look_up(queue or record.queue)
        arguments = asked_by(task, {**record.exact_arguments, **changes}, by)
        if hidden := [
            name
            for name, value in arguments.items()
            if value == REDACTED and (name not in changes or task.signature.hides(name))
        ]:
            raise InvalidArguments(record.task, dict.fromkeys(hidden, NOT_KEPT))
        # Its arguments must not take the place of later ones.
        single, later = task.undebounced(), delay if delay > 0 else None
        again = single.options(session=self.session, queue=queue or record.queue, delay=later)
        call = bind(again, arguments)
        call.job.meta[REPLAY_OF] = record.key
        if record.attempt_trace:
            call.job.meta[ATTEMPT_TRACE] = record.attempt_trace
        if record.tags:
            call.job.meta[TAGS] = record.tags
        [handle] = await enqueue_many([call])
        if not handle.created:
            raise DuplicateJob(record.task, handle.key)
        if own_fields(call.job).claim is not None:
            self._made.append(_Made(handle, record.task, Target(record.key, record.queue), so_far))
        await self._resolve([record], REPLAYED, by, why, replayed_as=handle.key)
        return handle.key

    async def _resolve(
        self, records: Sequence[JobRecord], resolution: str, by: str, why: str, replayed_as: str | None = None
    ) -> None:
        values: dict[str, Any] = {
            "resolution": resolution,
            "resolved_at": dt.datetime.now(dt.UTC),
            "resolved_by": storable(by),
            "resolved_why": storable(why) or None,
            "replayed_as": replayed_as,
        }
        # An explicit statement: one that the session generates for changed objects would not know the schema.
        mine = tuple_(*PLACE).in_([(each.queued_at, each.key, each.queue) for each in records])
        await self.session.execute(update(JobRecord).where(mine).values(values), execution_options=self._options)
