"""Job records: the row that a job leaves, and how rows are written."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec
from saq import Job
from saq.job import Status
from sqlalchemy import and_, func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from saqueduct.common.text import storable
from saqueduct.errors import JobConflict, UnknownTask
from saqueduct.postgres import early_ends, successes
from saqueduct.postgres.base import in_schema
from saqueduct.postgres.binary_copy import COPIED, messages, pack
from saqueduct.postgres.ended_rows import left, let_go
from saqueduct.postgres.models import REPLAYED, RESOLUTION, RETRIED, JobRecord
from saqueduct.postgres.rows import (
    EXTRA,
    Identity,
    Row,
    Statements,
    as_jsonb,
    columns,
    differs_in_jsonb,
    identity,
    merged,
    statements_in,
)
from saqueduct.tasks.definition import TaskDefinition, TaskLookup
from saqueduct.tasks.job import failure, own_fields
from saqueduct.tasks.job_log import as_json
from saqueduct.tasks.job_meta import DURABLE, ROUND, SCHEDULE, THROTTLED, put_back
from saqueduct.tasks.nesting import holds_too_deep, is_too_deep
from saqueduct.tasks.redaction import REDACTED

MAX_RESULT = 16 * 1024
"""Bytes of JSON up to which results are kept, unless the settings say otherwise."""

MAX_ERROR = 32 * 1024
"""Characters of an error that are kept: its end, which names the exception."""

COMPLETE = Status.COMPLETE
"""As a name of its own: an enumeration looks for its members at each use."""

_COLUMN_OF = {entry: name for name, entry in EXTRA.items()}


LOCK_KEYS = text("""
    SELECT pg_advisory_xact_lock(hashtextextended(key, 0))
    FROM unnest(CAST(:keys AS text[])) WITH ORDINALITY AS jobs(key, number) ORDER BY number
""")


@dataclasses.dataclass(slots=True)
class Rows:
    """Makes the rows of jobs, and writes them.

    Args:
        tasks: define which jobs are recorded, and which of their arguments are redacted.
        max_result: bytes of JSON up to which results are kept.
        enabled: False: no task's jobs leave records.
        schema: of the tables; None: what the `search_path` of a connection finds.
        synchronous: True: all records wait for PostgreSQL's disk; False: those of first successes do not.
    """

    tasks: TaskLookup
    max_result: int = MAX_RESULT
    enabled: bool = True
    schema: str | None = None
    synchronous: bool = False

    @property
    def _statements(self) -> Statements:
        return statements_in(self.schema)

    def of(self, job: Job) -> Row | None:
        """The row of a job that has ended, or gets another attempt; None if its task wants none."""
        if not self.enabled:
            return None
        task = self._task(job.function)
        return self._row(job, task, self.max_result) if self._wanted(task, job) else None

    def packed(self, jobs: Sequence[Job]) -> list[bytes | None]:
        """The records of those jobs that are plain successes, packed for COPY; None for a job that needs `of`."""
        return successes.pack(jobs, self._is_plain, self.max_result)

    def wanted(self, job: Job) -> bool:
        """True when the job must leave a record."""
        return self._wanted(self._task(job.function), job)

    def knows(self, job: Job) -> bool:
        """True when the job's task is known here: without it there is no way to know what to redact."""
        return self._task(job.function) is not None

    def _row(self, job: Job, task: TaskDefinition | None, max_result: int) -> Row:
        arguments, row = self._arguments(task, job) if job.kwargs else None, None
        with suppress(RecursionError):
            row = self._row_with(job, task, max_result, arguments)
        if row is None or (row.arguments is not None and holds_too_deep(arguments or {}, row.arguments)):
            # Of a producer that checks nothing: a record without these arguments is better than none. How many levels
            # Python itself can write depends on its version.
            row = self._row_with(job, task, max_result, _shallow(arguments or {}))
        return row

    def _row_with(
        self, job: Job, task: TaskDefinition | None, max_result: int, arguments: Mapping[str, Any] | None
    ) -> Row:
        error = shortened(job.error)
        meta = job.meta
        return Row(
            job.queued,
            job.key,
            job.get_queue().name,
            job.function,
            job.status.value,
            int(meta.get(ROUND, 0)) if meta else 0,
            job.attempts,
            put_back(meta),
            as_jsonb(arguments) if arguments else None,
            msgspec.json.encode(arguments) if arguments and self._differs(task, arguments) else None,
            None if job.result is None else self._result(task, job, max_result),
            error,
            as_jsonb(failures) if (failures := _failures(job, meta, error)) else None,
            job.worker_id,
            job.started,
            job.completed,
            _extra(job, meta) if meta or own_fields(job).logs is not None else None,
        )

    async def write(self, connection: AsyncConnection, rows: Sequence[Row | bytes], *, copy: bool = True) -> None:
        """Write rows in one transaction, most of them by COPY, which takes half the time of an INSERT.

        Args:
            connection: whose transaction it is.
            rows: at most a few thousand; those of plain successes may be packed.
            copy: False if a row may already exist; then none is packed.

        Raises:
            UniqueViolationError: one exists, for example after a commit whose answer was lost.
        """
        first = [row for row in rows if isinstance(row, bytes)]
        further: list[Row] = []
        for row in [row for row in rows if not isinstance(row, bytes)]:
            if copy and row.first:
                first.append(pack(row))
            else:
                further.append(row)
        if not self.synchronous and not any(row.kept for row in further):
            # If PostgreSQL crashes, these records of its last half second may be lost; waiting for its disk costs more.
            # Redis forgets the others once they are written.
            await connection.execute(text("SET LOCAL synchronous_commit TO off"))
        if further:
            await connection.execute(self._statements.upsert, columns(merged(further)))
        if first:
            # Last: it bypasses SQLAlchemy, which begins the transaction with its own first statement.
            raw: Any = (await connection.get_raw_connection()).driver_connection
            await raw.copy_to_table(
                "job_records", schema_name=self.schema, source=messages(first), columns=COPIED, format="binary"
            )

    async def end(
        self, connection: AsyncConnection | AsyncSession, jobs: Sequence[Job], *, record: bool = True
    ) -> list[bool | None]:
        """Delete the outbox rows of durable jobs that have ended, and write their records.

        Returns:
            For each False when its row was already deleted, and None when another transaction has locked its row and it
            must be deleted later: waiting would hold up all others.
        """
        ending, held = await self._ends(connection, jobs)
        counts: list[bool | None] = []
        for job in jobs:
            counts.append(None if identity(job) in held else identity(job) in ending)
            # Of two ends of one job the first counts.
            ending.discard(identity(job))
        ended = [job for job, first in zip(jobs, counts, strict=True) if first]
        if record and (rows := [row for job in ended if (row := self.of(job)) is not None]):
            await connection.execute(self._statements.upsert, columns(merged(rows)))
        return counts

    async def succeed(self, session: AsyncSession, job: Job) -> bool | None:
        """Record in the transaction of a job's own session that it has completed.

        Returns:
            False when it had ended before; None when there is nothing to write.
        """
        durable, task = bool(job.meta.get(DURABLE)), self._task(job.function)
        if durable and not (await self._ends(session, [job], wait=True))[0]:
            return False
        if not self._wanted(task, job):
            return True if durable else None
        # The whole result: another attempt, which finds the job done, returns it.
        row = self._row(job, task, sys.maxsize)
        return (await session.execute(self._statements.succeed, columns([row]))).first() is not None

    async def completed(self, connection: AsyncConnection, jobs: Sequence[Job]) -> dict[Identity, tuple[Any]]:
        """The results of those jobs that have completed, as far as PostgreSQL knows; by their identities."""
        names = (JobRecord.queued_at, JobRecord.key, JobRecord.queue, JobRecord.round)
        query = select(*names, JobRecord.result).where(
            tuple_(*names).in_(map(identity, jobs)), JobRecord.status == Status.COMPLETE.value
        )
        found = await connection.execute(query)
        return {(queued_at, key, queue, turn): (result,) for queued_at, key, queue, turn, result in found}

    async def retried(self, connection: AsyncConnection, job: Job) -> None:
        """A job that has ended is queued again: it is no longer a waiting dead letter.

        Raises:
            JobConflict: it was replayed as one.
        """
        queued_at, key, queue, number = identity(job)
        mine = and_(JobRecord.queued_at == queued_at, JobRecord.key == key, JobRecord.queue == queue)
        failed = and_(mine, JobRecord.round == number, JobRecord.status == Status.FAILED.value)
        query = select(JobRecord.resolution, JobRecord.replayed_as).where(failed).with_for_update()
        letter = (await connection.execute(query)).first()
        if letter is not None and letter.resolution == REPLAYED:
            raise JobConflict(key, f"replayed as {letter.replayed_as!r}", "retried")
        if letter is not None:
            values = {**dict.fromkeys(RESOLUTION), "resolution": RETRIED, "resolved_at": func.now()}
            await connection.execute(update(JobRecord).where(failed).values(values))

    async def ended(self, connection: AsyncConnection | AsyncSession, jobs: Sequence[Job]) -> set[Identity]:
        """Of jobs that may be in Redis before their rows are written, those that have ended, as far as PostgreSQL
        knows.

        Until the transaction ends, no other transaction can write their ends or their rows.
        """
        await connection.execute(LOCK_KEYS, {"keys": sorted({job.key for job in jobs})})
        names = (JobRecord.queued_at, JobRecord.key, JobRecord.queue, JobRecord.round)
        query = select(*names).where(tuple_(*names).in_(map(identity, jobs)), JobRecord.status != Status.QUEUED.value)
        query = query.execution_options(**in_schema(self.schema))
        return {(at, key, queue, number) for at, key, queue, number in await connection.execute(query)}

    async def _ends(
        self, connection: AsyncConnection | AsyncSession, jobs: Sequence[Job], *, wait: bool = False
    ) -> tuple[set[Identity], set[Identity]]:
        """Delete the outbox rows of durable jobs.

        Returns:
            Those that had not ended before, and those whose rows another transaction has locked; with `wait`, wait for
            the lock.
        """
        gone = await let_go(connection, jobs, self.schema, wait=wait)
        held = await left(connection, [job for job in jobs if identity(job) not in gone], self.schema)
        late = [job for job in jobs if SCHEDULE in job.meta and identity(job) not in gone | held]
        if late:
            # They are in Redis first: they may end before their rows are written, or when PostgreSQL could not take
            # these.
            ended = await self.ended(connection, late)
            gone |= await let_go(connection, late, self.schema, wait=True)
            early = [job for job in late if identity(job) not in gone | ended]
            await early_ends.note(connection, [job for job in early if not self.wanted(job)], self.schema)
            gone |= {identity(job) for job in early}
        return gone, held

    def _wanted(self, task: TaskDefinition | None, job: Job) -> bool:
        policy = task.defaults.record if task is not None else "all"
        if not self.enabled or policy == "none":
            return False
        return policy == "all" or job.status is not COMPLETE or had_record(job)

    def _is_plain(self, name: str) -> bool:
        task = self._task(name) if self.enabled else None
        if task is None or task.defaults.record != "all":
            return False
        return not task.signature.redact and task.signature.extra is None

    def _task(self, name: str) -> TaskDefinition | None:
        try:
            return self.tasks.get(name)
        except UnknownTask:
            return None

    def _arguments(self, task: TaskDefinition | None, job: Job) -> Mapping[str, Any]:
        arguments = cast("dict[str, Any]", job.kwargs)
        if task is None:
            # Without the task there is no way to know which of them to redact.
            return dict.fromkeys(arguments, REDACTED)
        return task.signature.redacted(arguments) if task.signature.redact else arguments

    def _differs(self, task: TaskDefinition | None, arguments: Mapping[str, Any]) -> bool:
        """True when a replay from JSONB would differ; named parameters have no order."""
        if task is not None and task.signature.extra is not None:
            return differs_in_jsonb(arguments)
        # A loop, without a call for text: this runs for every record.
        for value in arguments.values():  # noqa: SIM110
            if "\x00" in value if type(value) is str else differs_in_jsonb(value):
                return True
        return False

    def _result(self, task: TaskDefinition | None, job: Job, limit: int) -> bytes | None:
        result = job.result
        if task is not None and task.signature.redact:
            result = task.signature.secrets(job.kwargs).scrub_value(result)
        encoded = msgspec.json.encode(result)
        return encoded if len(encoded) <= limit else None


def had_record(job: Job) -> bool:
    """True for one that failed before, or was queued again: it already has a record, with the status "queued"."""
    return bool(job.attempts > 1 or job.meta.get(ROUND) or put_back(job.meta))


def _shallow(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arguments without those that are nested too deep; a replay must be given them, as it must redacted ones."""
    return {name: REDACTED if is_too_deep(value) else value for name, value in arguments.items()}


def _extra(job: Job, meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values of most records' empty columns."""
    extra = {_COLUMN_OF[entry]: value for entry, value in meta.items() if entry in _COLUMN_OF}
    # Those of other attempts are in `errors`.
    if job.status in (COMPLETE, Status.ABORTED) and (lines := as_json(own_fields(job).logs)):
        extra["logs"] = lines
    return extra or None


def _failures(job: Job, meta: Mapping[str, Any], error: str | None) -> list[dict[str, Any]]:
    """Attempts that did not complete: the last one; at the end of a job also, in one entry, the throttled ones."""
    if job.status is COMPLETE and (not meta or THROTTLED not in meta):
        return []
    throttled = [] if job.status is Status.QUEUED else _throttlings(job, meta)
    return [*throttled, _failure(job, error)] if job.status in (Status.FAILED, Status.QUEUED) else throttled


def _throttlings(job: Job, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not meta or THROTTLED not in meta:
        return []
    _, times, limit = meta[THROTTLED]
    text = f"Throttled {'once' if times == 1 else f'{times} times'}, by the limit {limit!r}"
    entry = {"attempt": job.attempts, "error": text, "worker": None, "started": None, "ended": None}
    return [{**entry, "outcome": "throttled"}]


def _failure(job: Job, error: str | None) -> dict[str, Any]:
    found = own_fields(job).failure or failure(job, error)
    return {**found, "error": shortened(found["error"])}


def shortened(error: str | None) -> str | None:
    """The error of a job as its record has it."""
    return None if error is None else storable(error[-MAX_ERROR:])
