"""Job records: the row that a job leaves, and how rows are written."""

import dataclasses
import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
from saq import Job
from saq.job import Status
from sqlalchemy import delete, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.queue.engine.job import failure
from app.queue.errors import UnknownTask
from app.queue.memory.models import JobRecord, OutboxJob
from app.queue.memory.outbox import ends_of
from app.queue.meta import DURABLE, PARENT, RECOVERIES, REPLAY_OF, ROUND, SCHEDULE, TAGS, TRACE_ID
from app.queue.redaction import REDACTED

if TYPE_CHECKING:
    from app.queue.engine.queue import TaskCatalogue
    from app.queue.task import Task

EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)

MAX_RESULT = 16 * 1024
"""Bytes of JSON up to which results are kept, unless the settings say otherwise."""

MAX_ERROR = 32 * 1024
"""Characters of an error that are kept: its end, where the exception stands."""

EXTRA = (SCHEDULE, PARENT, TRACE_ID, TAGS, REPLAY_OF)
"""Entries of `Job.meta` that have a column each; most jobs have none of them."""

COLUMNS = {
    "queued": "bigint",
    "key": "text",
    "queue": "text",
    "task": "text",
    "status": "text",
    "round": "smallint",
    "attempts": "smallint",
    "recoveries": "smallint",
    "arguments": "text",
    "result": "text",
    "error": "text",
    "errors": "text",
    "worker": "text",
    "started": "bigint",
    "ended": "bigint",
    "extra": "text",
}
"""What a row is made of, each an array of this type in the statement; times are epoch milliseconds."""

COPIED = (
    "queued_at", "key", "queue", "task", "status", "attempts", "arguments", "result", "error", "worker", "started_at",
    "ended_at", *EXTRA,
)  # fmt: skip
"""The columns of a row that is copied."""

Identity = tuple[dt.datetime, str, str, int]
"""What tells a job from all others: when it was queued, its key, its queue, and the round of its attempts."""

NO_EXTRA = (None,) * len(EXTRA)

UTC = dt.UTC
_moment = dt.datetime.fromtimestamp

# Of two writes about one job the later one counts: that of a later round, or the end after the attempts before it.
_NEWER = "(excluded.round > r.round OR excluded.round = r.round AND r.status = 'queued')"
_OVERWRITTEN = ("status", "round", "attempts", "recoveries", "arguments", "result", "error", "worker", "started_at")


def _time(name: str) -> str:
    # Exact to the millisecond, which tells jobs of one key apart; `to_timestamp` reckons in floating point.
    return f"timestamptz 'epoch' + {name} * interval '1 millisecond'"


_INSERT = f"""
    INSERT INTO job_records AS r (
        queued_at, key, queue, task, status, round, attempts, recoveries, arguments, result, error, errors, worker,
        started_at, ended_at, schedule, parent, trace_id, tags, replay_of
    )
    SELECT {_time("queued")}, key, queue, task, status, round, attempts, recoveries, arguments::jsonb, result::jsonb,
        error, errors::jsonb, worker, {_time("nullif(started, 0)")}, {_time("nullif(ended, 0)")},
        extra::json ->> 'schedule', extra::json ->> 'parent', extra::json ->> 'trace_id',
        CASE WHEN extra::json -> 'tags' IS NOT NULL
            THEN ARRAY(SELECT json_array_elements_text(extra::json -> 'tags')) END,
        extra::json ->> 'replay_of'
    FROM unnest({", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in COLUMNS.items())}) AS u({", ".join(COLUMNS)})
    ON CONFLICT (queued_at, key, queue) DO UPDATE SET
"""  # noqa: S608  (made of the names above)

_UPSERT = text(f"""{_INSERT}
        {", ".join(f"{name} = CASE WHEN {_NEWER} THEN excluded.{name} ELSE r.{name} END" for name in _OVERWRITTEN)},
        ended_at = CASE WHEN {_NEWER} THEN excluded.ended_at ELSE r.ended_at END,
        errors = CASE WHEN excluded.errors IS NULL THEN r.errors
            ELSE coalesce(r.errors, '[]'::jsonb) || excluded.errors END,
        resolution = CASE WHEN excluded.round > r.round THEN NULL ELSE r.resolution END
""")

_SUCCEED = text(f"""{_INSERT}
        {", ".join(f"{name} = excluded.{name}" for name in (*_OVERWRITTEN, "ended_at"))}, resolution = NULL
    WHERE {_NEWER}
    RETURNING r.key
""")
"""Writes nothing about a job that has ended."""


class Row(NamedTuple):
    """One record in the order of COLUMNS."""

    queued: int
    key: str
    queue: str
    task: str
    status: str
    round: int
    attempts: int
    recoveries: int
    arguments: str | None
    result: str | None
    error: str | None
    errors: str | None
    worker: str | None
    started: int
    ended: int
    extra: dict[str, Any] | None

    @property
    def first(self) -> bool:
        """True when nothing can have been written about this job before, as far as this process knows."""
        return self.attempts <= 1 and self.errors is None and not self.round and not self.recoveries


@dataclasses.dataclass(slots=True)
class Rows:
    """Makes the rows of jobs, and writes them.

    Args:
        tasks: say which jobs are recorded, and which of their arguments are redacted.
        max_result: bytes of JSON up to which results are kept.
        enabled: False: no task's jobs leave records.
    """

    tasks: "TaskCatalogue"
    max_result: int = MAX_RESULT
    enabled: bool = True

    def of(self, job: Job) -> Row | None:
        """The row of a job that has ended, or gets another attempt; None where its task wants none."""
        task = self._task(job.function)
        return self._row(job, task, self.max_result) if self._wanted(task, job) else None

    def _row(self, job: Job, task: "Task[..., Any] | None", max_result: int) -> Row:
        error = _shortened(job.error)
        failed = job.status in (Status.FAILED, Status.QUEUED)
        meta = job.meta
        return Row(
            job.queued,
            job.key,
            job.get_queue().name,
            job.function,
            job.status.value,
            int(meta.get(ROUND, 0)) if meta else 0,
            job.attempts,
            int(meta.get(RECOVERIES, 0)) if meta else 0,
            _json(self._arguments(task, job)) if job.kwargs else None,
            None if job.result is None else self._result(task, job, max_result),
            error,
            _json([_failure(job, error)]) if failed else None,
            job.worker_id,
            job.started,
            job.completed,
            ({name: meta[name] for name in EXTRA if name in meta} or None) if meta else None,
        )

    async def write(self, connection: AsyncConnection, rows: Sequence[Row], *, copy: bool = True) -> None:
        """Write rows in one transaction, most of them by COPY, which takes half the time of an INSERT.

        Args:
            connection: whose transaction it is.
            rows: at most a few thousand.
            copy: False where a row may be there already.

        Raises:
            UniqueViolationError: one is, as after a commit whose answer was lost.
        """
        # With a crash of PostgreSQL the records of its last half second may be lost; waiting for its disk costs more.
        await connection.execute(text("SET LOCAL synchronous_commit TO off"))
        first = [row for row in rows if row.first] if copy else []
        if first:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            await raw.copy_records_to_table("job_records", records=map(_copy, first), columns=COPIED)
        if further := [row for row in rows if not (copy and row.first)]:
            await connection.execute(_UPSERT, _columns(_merged(further)))

    async def end(self, connection: AsyncConnection | AsyncSession, job: Job, *, record: bool = True) -> bool:
        """Let go of a durable job that has ended, with its record; False when it was let go before."""
        if not await self._ends(connection, job):
            return False
        if record and (row := self.of(job)) is not None:
            await connection.execute(_UPSERT, _columns([row]))
        return True

    async def succeed(self, session: AsyncSession, job: Job) -> bool | None:
        """Write in the transaction of a job's own session that it has completed.

        Returns:
            False when it had ended before; None when nothing is to be written.
        """
        durable, task = bool(job.meta.get(DURABLE)), self._task(job.function)
        if durable and not await self._ends(session, job):
            return False
        if not self._wanted(task, job):
            return True if durable else None
        # Whole: another attempt, which finds it done, answers with it.
        row = self._row(job, task, sys.maxsize)
        return (await session.execute(_SUCCEED, _columns([row]))).first() is not None

    async def completed(self, connection: AsyncConnection, jobs: Sequence[Job]) -> dict[Identity, tuple[Any]]:
        """The results of those jobs that have completed, as far as PostgreSQL knows; by their identities."""
        columns = (JobRecord.queued_at, JobRecord.key, JobRecord.queue, JobRecord.round)
        query = select(*columns, JobRecord.result).where(
            tuple_(*columns).in_(map(identity, jobs)), JobRecord.status == Status.COMPLETE.value
        )
        found = await connection.execute(query)
        return {(queued_at, key, queue, turn): (result,) for queued_at, key, queue, turn, result in found}

    async def ended(self, connection: AsyncConnection | AsyncSession, jobs: Sequence[Job]) -> set[Identity]:
        """Of jobs that may stand in Redis before their rows do, those that have ended, as far as PostgreSQL knows.

        Until the transaction ends, nobody else can write their ends or their rows.
        """
        for key in sorted({job.key for job in jobs}):
            await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
        columns = (JobRecord.queued_at, JobRecord.key, JobRecord.queue, JobRecord.round)
        query = select(*columns).where(
            tuple_(*columns).in_(map(identity, jobs)), JobRecord.status != Status.QUEUED.value
        )
        return {(at, key, queue, number) for at, key, queue, number in await connection.execute(query)}

    async def _ends(self, connection: AsyncConnection | AsyncSession, job: Job) -> bool:
        """Let go of a durable job; False when it had ended before."""
        if await self._let_go(connection, job):
            return True
        if SCHEDULE not in job.meta:
            return False
        # It stands in Redis first: it may end before its row is written, or when PostgreSQL could not take that.
        ended = await self.ended(connection, [job])
        return await self._let_go(connection, job) or not ended

    async def _let_go(self, connection: AsyncConnection | AsyncSession, job: Job) -> bool:
        gone = delete(OutboxJob).where(OutboxJob.queue == job.get_queue().name, ends_of([job]))
        return (await connection.execute(gone.returning(OutboxJob.key))).first() is not None

    def _wanted(self, task: "Task[..., Any] | None", job: Job) -> bool:
        policy = task.defaults.record if task is not None else "all"
        if not self.enabled or policy == "none":
            return False
        # One that fails first and completes then has a record already, and so has one whose worker died.
        again = job.attempts > 1 or job.meta.get(ROUND) or job.meta.get(RECOVERIES)
        return policy == "all" or job.status is not Status.COMPLETE or bool(again)

    def _task(self, name: str) -> "Task[..., Any] | None":
        try:
            return self.tasks.get(name)
        except UnknownTask:
            return None

    def _arguments(self, task: "Task[..., Any] | None", job: Job) -> Mapping[str, Any]:
        arguments = cast("dict[str, Any]", job.kwargs)
        if task is None:
            # Nobody can say which of them to redact.
            return dict.fromkeys(arguments, REDACTED)
        return task.signature.redacted(arguments) if task.signature.redact else arguments

    def _result(self, task: "Task[..., Any] | None", job: Job, limit: int) -> str | None:
        result = job.result
        if task is not None and task.signature.redact:
            result = task.signature.secrets(job.kwargs).scrub_value(result)
        encoded = _json(result)
        return encoded if len(encoded) <= limit else None


def _merged(rows: Sequence[Row]) -> Sequence[Row]:
    """One row a job: a statement writes each once. The last counts, with the errors of all."""
    by_job: dict[tuple[int, str, str], Row] = {}
    for row in rows:
        before = by_job.get(row[:3])
        if before is not None and before.errors:
            row = row._replace(errors=before.errors[:-1] + "," + row.errors[1:] if row.errors else before.errors)
        by_job[row[:3]] = row
    return list(by_job.values())


def _failure(job: Job, error: str | None) -> dict[str, Any]:
    told = getattr(job, "failure", None) or failure(job, error)
    return {**told, "error": _shortened(told["error"])}


def _copy(row: Row) -> tuple[Any, ...]:
    """A row in the order of COPIED."""
    (queued, key, queue, task, status, _, attempts, _, arguments, result, error, _, worker, started, ended, extra) = row
    further = tuple(map(extra.get, EXTRA)) if extra else NO_EXTRA
    times = (_moment(started / 1000, UTC) if started else None, _moment(ended / 1000, UTC) if ended else None)
    return (
        _moment(queued / 1000, UTC), key, queue, task, status, attempts, arguments, result, error, worker, *times,
        *further,
    )  # fmt: skip


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Rows as the arrays of the statements."""
    encoded = [row._replace(extra=_json(row.extra)) if row.extra else row for row in rows]  # type: ignore[arg-type]
    return dict(zip(COLUMNS, map(list, zip(*encoded, strict=True)), strict=True))


def _json(value: Any) -> str:
    encoded = msgspec.json.encode(value).decode()
    # PostgreSQL's text has no NUL, and its JSON no escape of one.
    return encoded.replace("\\u0000", "\\ufffd") if "\\u0000" in encoded else encoded


def identity(job: Job) -> Identity:
    """Of a job; see `Identity`."""
    queued = EPOCH + dt.timedelta(milliseconds=job.queued)
    return queued, job.key, job.get_queue().name, int(job.meta.get(ROUND, 0))


def milliseconds(moment: dt.datetime | None) -> int:
    """Epoch milliseconds; 0 for none."""
    return 0 if moment is None else round((moment - EPOCH) / dt.timedelta(milliseconds=1))


def _shortened(error: str | None) -> str | None:
    return None if error is None else error[-MAX_ERROR:].replace("\x00", "\ufffd")
