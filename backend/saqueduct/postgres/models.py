"""The tables: `outbox` holds jobs on their way to Redis, `job_records` the results and errors of jobs, `job_audit` what
people did, `job_history` numbers of queues and tasks over time."""

import datetime as dt
from typing import Any

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from saqueduct.postgres.base import Base
from saqueduct.postgres.record_statuses import STATUSES

CHANNEL = "saqueduct_outbox"
"""Channel of LISTEN and NOTIFY, on which a commit reports that rows of the outbox wait."""

REPLAYED, DISCARDED, RETRIED = "replayed", "discarded", "retried"
"""How a dead letter was resolved: a new job has its arguments, it was discarded, or it was queued again."""

RESOLUTION = ("resolution", "resolved_at", "resolved_by", "resolved_why", "replayed_as")
"""The columns that record this."""


class OutboxJob(Base):
    """A job written in a caller's transaction; a durable one stays until it has ended.

    A job is distinguished from another one with the same key by its enqueue time and its manual retry number.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_unpublished", "created_at", postgresql_where=text("published_at IS NULL")),
        Index("ix_outbox_published", "published_at", postgresql_where=text("published_at IS NOT NULL")),
        # Rows are short-lived; the table stays small if their space is reused soon.
        {"postgresql_with": {"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.05}},
    )

    queue: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    queued: Mapped[int] = mapped_column(BigInteger)
    """Epoch milliseconds of its enqueue."""
    round: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """Times that it was queued again by hand after its end."""
    job: Mapped[str] = mapped_column(Text)
    """In SAQ's wire format."""
    unique: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """What makes it unique, see `Claim`; null: only its key."""
    durable: Mapped[bool]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    published_at: Mapped[dt.datetime | None]
    """When Redis was last known to have it; null: never yet."""


class JobRecord(Base):
    """The record of a job. Values of redacted arguments are not in it.

    The indexes are those of every partition; old ones have more, see `saqueduct.postgres.partitions`.
    """

    __tablename__ = "job_records"
    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(map(repr, STATUSES))})", name="status"),
        Index(None, "key"),
        # Most jobs complete: an index of all statuses would be large, and would not help to find those.
        Index(
            "ix_job_records_incomplete",
            "status",
            "queued_at",
            "key",
            "queue",
            postgresql_where=text("status <> 'complete'"),
        ),
        {"postgresql_partition_by": "RANGE (queued_at)"},
    )

    queued_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    """When it was enqueued; first in the key, because records are listed and pruned by it."""
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    queue: Mapped[str] = mapped_column(Text, primary_key=True)
    task: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    round: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """Times that it was queued again by hand after its end."""
    attempts: Mapped[int] = mapped_column(SmallInteger)
    recoveries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    arguments: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """By name, to search and to show; null: none."""
    payload: Mapped[str | None] = mapped_column(Text)
    """The arguments as JSON, exactly as they were, where JSONB has another form of them; null: it has not."""
    result: Mapped[Any | None] = mapped_column(JSON)
    """Null also where it was larger than QUEUE_RECORD_RESULT_BYTES, unless it committed with the job's session."""
    error: Mapped[str | None] = mapped_column(Text)
    """Of the last attempt, with its traceback."""
    errors: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    """Attempts that did not complete: attempt, error, worker, version of the code, started and ended in epoch
    milliseconds."""
    worker: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[dt.datetime | None]
    """Start of the last attempt."""
    ended_at: Mapped[dt.datetime | None]
    schedule: Mapped[str | None] = mapped_column(Text)
    """Key of the schedule that made it."""
    parent: Mapped[str | None] = mapped_column(Text)
    """Key of the job that enqueued it."""
    trace_id: Mapped[str | None] = mapped_column(Text)
    """32 hex digits, as in a W3C `traceparent`."""
    attempt_trace: Mapped[str | None] = mapped_column(Text)
    """The `traceparent` of the last attempt's span."""
    logs: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)
    """What the last attempt logged, see `saqueduct.tasks.job_log`; null: that is not kept."""
    tags: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    replay_of: Mapped[str | None] = mapped_column(Text)
    """Key of the dead letter that it was made of."""
    resolution: Mapped[str | None] = mapped_column(Text)
    """What was done with the dead letter: "replayed", "discarded" or "retried"; null: it waits."""
    resolved_at: Mapped[dt.datetime | None]
    resolved_by: Mapped[str | None] = mapped_column(Text)
    resolved_why: Mapped[str | None] = mapped_column(Text)
    replayed_as: Mapped[str | None] = mapped_column(Text)
    """Key of the job that replays it."""

    @property
    def exact_arguments(self) -> dict[str, Any]:
        """The arguments as they were; redacted ones are in neither form."""
        return dict(msgspec.json.decode(self.payload) if self.payload is not None else self.arguments or {})


class AuditRow(Base):
    """An action of a person; see `saqueduct.queue.audit.AuditEntry`."""

    __tablename__ = "job_audit"
    __table_args__ = (Index(None, "at"), Index("ix_job_audit_targets", "targets", postgresql_using="gin"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    person: Mapped[str] = mapped_column(Text)
    role: Mapped[str | None] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    targets: Mapped[list[str]] = mapped_column(ARRAY(Text))
    count: Mapped[int | None] = mapped_column(BigInteger)
    task: Mapped[str | None] = mapped_column(Text)
    queue: Mapped[str | None] = mapped_column(Text)
    filter: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    why: Mapped[str] = mapped_column(Text)
    surface: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)


class AuditBatch(Base):
    """Some targets of an action on many; see `saqueduct.postgres.audit_batches`."""

    __tablename__ = "job_audit_batches"
    __table_args__ = (
        Index(None, "at"),
        Index(
            "ix_job_audit_batches_targets",
            "targets",
            postgresql_using="gin",
            postgresql_where=text("NOT enqueued"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    entry: Mapped[int] = mapped_column(BigInteger)
    """Id of the action in `job_audit`."""
    at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    """When it was done to these."""
    queue: Mapped[str | None] = mapped_column(Text)
    """Of all of these; null: not known."""
    enqueued: Mapped[bool]
    """True: the action enqueued them, and they are found by that time; programs enqueue so often that an index of
    these keys would be larger than all else."""
    done: Mapped[bool] = mapped_column(server_default=true())
    """False: the action is about to be done to these, or its worker ended meanwhile."""
    targets: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """Keys of jobs."""


class HistoryRow(Base):
    """What happened to the jobs of a task of a queue in a minute, an hour or a day."""

    __tablename__ = "job_history"
    # Rows of the present change every few seconds: room for new versions of them in the same page.
    __table_args__ = ({"postgresql_with": {"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.05}},)

    step: Mapped[int] = mapped_column(Integer, primary_key=True)
    """Seconds: 60, 3600 or 86400."""
    at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    """Its beginning, in UTC."""
    queue: Mapped[str] = mapped_column(Text, primary_key=True)
    task: Mapped[str] = mapped_column(Text, primary_key=True)
    enqueued: Mapped[int] = mapped_column(BigInteger)
    complete: Mapped[int] = mapped_column(BigInteger)
    failed: Mapped[int] = mapped_column(BigInteger)
    aborted: Mapped[int] = mapped_column(BigInteger)
    retried: Mapped[int] = mapped_column(BigInteger)
    recovered: Mapped[int] = mapped_column(BigInteger)
    wait_seconds: Mapped[float] = mapped_column(Double)
    run_seconds: Mapped[float] = mapped_column(Double)
    waits: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    """Counts by bucket, see `saqueduct.common.durations`."""
    runs: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


metadata = Base.metadata
"""Every table of the library, for Alembic."""
