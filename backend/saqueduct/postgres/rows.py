"""The row of a job record: its columns, its identity, and the statements that write it."""

import datetime as dt
import functools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from saq import Job
from sqlalchemy import TextClause, text

from saqueduct.common.moments import EPOCH
from saqueduct.postgres.base import quoted
from saqueduct.postgres.models import RESOLUTION
from saqueduct.tasks.job_meta import ATTEMPT_TRACE, PARENT, REPLAY_OF, ROUND, SCHEDULE, TAGS, TRACE_ID

EXTRA = {
    "schedule": SCHEDULE,
    "parent": PARENT,
    "trace_id": TRACE_ID,
    "tags": TAGS,
    "replay_of": REPLAY_OF,
    "attempt_trace": ATTEMPT_TRACE,
}
"""The columns that hold an entry of `Job.meta` each; most jobs have none of them."""

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
    "payload": "text",
    "result": "text",
    "error": "text",
    "errors": "text",
    "worker": "text",
    "started": "bigint",
    "ended": "bigint",
    "extra": "text",
}
"""The values of a row, each an array of this type in the statement; times are epoch milliseconds."""

Identity = tuple[dt.datetime, str, str, int]
"""What identifies a job: its enqueue time, its key, its queue, and its manual retry number."""

LARGEST_FLOAT = 1e15
"""Floats below it are written without an exponent, and read from JSONB as floats again."""

NUL = rb"\u0000"
"""In JSON that may have NUL, which JSONB cannot hold."""

# An escape of NUL, unless the backslash itself is escaped.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")

# Of two writes about one job the later one counts: the one with a higher manual retry number, or the end after its
# attempts. A stock process that retries a job by hand does not know this number; its attempts keep counting.
_NEWER = """(excluded.round > r.round OR excluded.round = r.round
    AND (r.status = 'queued' OR excluded.attempts > r.attempts))"""
_OVERWRITTEN = (
    "status", "round", "attempts", "recoveries", "arguments", "payload", "result", "error", "worker", "started_at",
    "attempt_trace", "logs",
)  # fmt: skip


def _time(name: str) -> str:
    # Exact to the millisecond, which distinguishes jobs with one key; `to_timestamp` computes in floating point.
    return f"timestamptz 'epoch' + {name} * interval '1 millisecond'"


_INSERT = f"""
    INSERT INTO {{table}} AS r (
        queued_at, key, queue, task, status, round, attempts, recoveries, arguments, payload, result, error, errors,
        worker, started_at, ended_at, schedule, parent, trace_id, tags, replay_of, attempt_trace,
        logs
    )
    SELECT {_time("queued")}, key, queue, task, status, round, attempts, recoveries, arguments::jsonb, payload,
        result::json, error, errors::jsonb, worker, {_time("nullif(started, 0)")}, {_time("nullif(ended, 0)")},
        extra::json ->> 'schedule', extra::json ->> 'parent', extra::json ->> 'trace_id',
        CASE WHEN extra::json -> 'tags' IS NOT NULL
            THEN ARRAY(SELECT json_array_elements_text(extra::json -> 'tags')) END,
        extra::json ->> 'replay_of', extra::json ->> 'attempt_trace',
        extra::json -> 'logs'
    FROM {{source}}
    ON CONFLICT (queued_at, key, queue) DO UPDATE SET
"""  # noqa: S608  (made of the names above)

# A row may be written twice, by the worker that ended its job and by one that found its end in Redis.
_NEW_ERRORS = """coalesce((
    SELECT jsonb_agg(error ORDER BY number)
    FROM jsonb_array_elements(excluded.errors) WITH ORDINALITY AS of_row(error, number)
    WHERE NOT coalesce(r.errors, '[]'::jsonb) @> jsonb_build_array(error)
), '[]'::jsonb)"""

_UPSERT = f"""{_INSERT}
        {", ".join(f"{name} = CASE WHEN {_NEWER} THEN excluded.{name} ELSE r.{name} END" for name in _OVERWRITTEN)},
        ended_at = CASE WHEN {_NEWER} THEN excluded.ended_at ELSE r.ended_at END,
        errors = CASE WHEN excluded.errors IS NULL THEN r.errors
            ELSE coalesce(r.errors, '[]'::jsonb) || {_NEW_ERRORS} END,
        {", ".join(f"{name} = CASE WHEN excluded.round > r.round THEN NULL ELSE r.{name} END" for name in RESOLUTION)}
"""

_SUCCEED = f"""{_INSERT}
        {", ".join(f"{name} = excluded.{name}" for name in (*_OVERWRITTEN, "ended_at"))},
        {", ".join(f"{name} = NULL" for name in RESOLUTION)}
    WHERE {_NEWER}
    RETURNING r.key
"""
"""Writes nothing about a job that has ended."""


class Statements(NamedTuple):
    """What writes rows.

    Attributes:
        upsert: writes them, or updates existing ones.
        succeed: writes the row of a job whose session is about to commit; returns nothing for a job that has ended.
    """

    upsert: TextClause
    succeed: TextClause


@functools.cache
def statements_in(schema: str | None) -> Statements:
    """The statements for the tables of a schema."""
    arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in COLUMNS.items())
    source = f"unnest({arrays}) AS u({', '.join(COLUMNS)})"
    return Statements(text(upsert_from(source, schema)), text(_from(_SUCCEED, source, schema)))


def upsert_from(source: str, schema: str | None) -> str:
    """SQL that writes rows, or updates existing ones.

    Args:
        source: of the rows, in SQL, after FROM: with the columns COLUMNS, each job once.
        schema: of the tables.
    """
    return _from(_UPSERT, source, schema)


def _from(statement: str, source: str, schema: str | None) -> str:
    return statement.replace("{table}", quoted("job_records", schema)).replace("{source}", source)


class Row(NamedTuple):
    """One record in the order of COLUMNS; bytes are JSON."""

    queued: int
    key: str
    queue: str
    task: str
    status: str
    round: int
    attempts: int
    recoveries: int
    arguments: bytes | None
    payload: bytes | None
    result: bytes | None
    error: str | None
    errors: bytes | None
    worker: str | None
    started: int
    ended: int
    extra: dict[str, Any] | None

    @property
    def first(self) -> bool:
        """True for a success at the first attempt: no row about this job can exist yet."""
        return (
            self.status == "complete"
            and self.attempts <= 1
            and not self.round
            and not self.recoveries
            and self.errors is None
        )

    @property
    def kept(self) -> bool:
        """True for an end that Redis keeps until it is written; all but `first` ones, see `queue/unrecorded.py`."""
        return self.status != "queued" and not self.first

    @property
    def mark(self) -> str:
        """See `saqueduct.tasks.job.mark_of`."""
        return f"{self.key}|{self.queued}|{self.round}"

    @property
    def values(self) -> Iterator[int | str | None]:
        """The values of the statements, in the order of COLUMNS: JSON is text in them."""
        row = self._replace(extra=as_jsonb(self.extra)) if self.extra else self  # type: ignore[arg-type]
        return (value.decode() if isinstance(value, bytes) else value for value in row)  # type: ignore[misc]


def identity(job: Job) -> Identity:
    """Of a job; see `Identity`."""
    queued = EPOCH + dt.timedelta(milliseconds=job.queued)
    return queued, job.key, job.get_queue().name, int(job.meta.get(ROUND, 0))


def merged(rows: Sequence[Row]) -> Sequence[Row]:
    """One row a job: a statement writes each once. The last counts, with the errors of all."""
    by_job: dict[tuple[int, str, str], Row] = {}
    for row in rows:
        before = by_job.get(row[:3])
        if before is not None and before.errors:
            row = row._replace(errors=before.errors[:-1] + b"," + row.errors[1:] if row.errors else before.errors)
        by_job[row[:3]] = row
    # In a fixed order, otherwise two statements with the same jobs could deadlock.
    return [by_job[each] for each in sorted(by_job)]


def columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Rows as the arrays of the statements."""
    return dict(zip(COLUMNS, map(list, zip(*(row.values for row in rows), strict=True)), strict=True))


def as_jsonb(value: Any) -> bytes:
    """A value as JSON for a column of JSONB, which has no NUL."""
    encoded = msgspec.json.encode(value)
    # Not with `in`, which first takes what it looks for as a number: that costs more than the search.
    return _NUL.sub(rb"\1\\ufffd", encoded) if encoded.find(NUL) >= 0 else encoded


def differs_in_jsonb(value: Any) -> bool:
    """True for JSON builtins that JSONB does not return unchanged.

    JSONB has no NUL, returns large floats as integers, has no negative zero, and orders the names of an object.
    """
    kind = type(value)
    if kind is str:
        return "\x00" in value
    if kind is float:
        return not -LARGEST_FLOAT < value < LARGEST_FLOAT or (value == 0 and math.copysign(1.0, value) < 0)
    if kind is dict:
        return len(value) > 1 or any("\x00" in name or differs_in_jsonb(each) for name, each in value.items())
    return kind is list and any(map(differs_in_jsonb, value))
