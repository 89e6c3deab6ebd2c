"""JobDetails: a job as callers may see it, from Redis or from its record."""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from saq import Job
from saq.job import Status

from saqueduct.postgres.record_filter import trace_of_attempt
from saqueduct.queue.limit_waits import LimitWait, LimitWaits
from saqueduct.queue.queues import Queues
from saqueduct.queue.redacted_view import REDACTABLE, RedactedView
from saqueduct.tasks.job import failure
from saqueduct.tasks.job_meta import ATTEMPT_TRACE, PARENT, REPLAY_OF, SCHEDULE, TAGS, TRACE_ID, put_back

if TYPE_CHECKING:
    from saqueduct.postgres.models import JobRecord


def moment(milliseconds: float | None) -> dt.datetime | None:
    """Epoch milliseconds as a time; None for 0."""
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC) if milliseconds else None


class JobSummary(msgspec.Struct, kw_only=True):
    """What every view of a job has. Times are ISO 8601; null: not reached yet, or not kept there."""

    key: str
    job_id: str
    """The same as `key`."""
    task: str
    queue: str
    status: str
    """SAQ's statuses; "new" for one that waits in the outbox, "queued" also for one that waits for its time."""
    attempts: int
    queued_at: dt.datetime | None
    due_at: dt.datetime | None = None
    """The job does not start before this time."""
    started_at: dt.datetime | None
    """Start of the last attempt."""
    ended_at: dt.datetime | None


class JobDetails(JobSummary, kw_only=True):
    """A job, with the same names wherever it was read; null: there is none, or it is not kept there.

    Values that its task redacts are not in it.
    """

    retries: int | None = None
    """Attempts that it may have."""
    recoveries: int = 0
    progress: float | None = None
    """0.0 to 1.0, as the job reports it."""
    arguments: dict[str, Any] | None
    result: Any
    error: str | None
    errors: list[dict[str, Any]]
    """Attempts that did not complete: attempt, error, worker, version of the code where it is known, `started_at` and
    `ended_at`, and these as `started` and `ended` in epoch milliseconds. Of a job that Redis has: the last one, if it
    has failed."""
    logs: list[dict[str, Any]] = msgspec.field(default_factory=list)
    """What its attempts logged, if its task keeps that, as far as PostgreSQL has it: attempt, `at`, level, logger and
    text of each line."""
    worker: str | None
    schedule: str | None
    parent: str | None
    trace_id: str | None
    """32 hex digits: the trace that it was enqueued in."""
    attempt_trace_id: str | None = None
    """The trace of its last attempt, if that was sampled."""
    tags: list[str]
    replay_of: str | None
    resolution: str | None = None
    """"replayed", "discarded" or "retried", of a dead letter."""
    resolved_at: dt.datetime | None = None
    resolved_by: str | None = None
    resolved_why: str | None = None
    replayed_as: str | None = None
    waits_for: list[LimitWait] = msgspec.field(default_factory=list)
    """Its limits, while it waits for them, those that hold it up first; where one job is shown."""

    @classmethod
    def of_job(cls, job: Job) -> "JobDetails":
        """A job as Redis, or the outbox, has it."""
        queue, meta = job.get_queue(), job.meta or {}
        fields = {"function": job.function, "kwargs": job.kwargs, "error": job.error, "result": job.result}
        visible = RedactedView.of(queue).of_job(fields)
        return cls(
            key=job.key,
            job_id=job.key,
            task=job.function,
            queue=queue.name,
            status=job.status.value,
            attempts=job.attempts,
            retries=job.retries,
            recoveries=put_back(meta),
            progress=job.progress,
            queued_at=moment(job.queued),
            due_at=moment(job.scheduled * 1000),
            started_at=moment(job.started),
            ended_at=moment(job.completed),
            arguments=visible["kwargs"] or {},
            result=visible["result"],
            error=visible["error"],
            errors=[attempt(failure(job, visible["error"]))] if job.status is Status.FAILED else [],
            worker=job.worker_id,
            schedule=meta.get(SCHEDULE),
            parent=meta.get(PARENT),
            trace_id=meta.get(TRACE_ID),
            attempt_trace_id=trace_of_attempt(meta.get(ATTEMPT_TRACE)),
            tags=meta.get(TAGS) or [],
            replay_of=meta.get(REPLAY_OF),
        )

    @classmethod
    async def of_waiting(cls, queues: Queues, job: Job) -> "JobDetails":
        """The same, and what it waits for."""
        details = cls.of_job(job)
        if job.status in (Status.QUEUED, Status.ACTIVE):
            queue = queues.get(job.get_queue().name)
            details.waits_for = await LimitWaits(queue.core, queue.tasks).of(job)
        return details

    @classmethod
    def of_record(cls, queues: Queues, record: "JobRecord") -> "JobDetails":
        """A job as its record has it; redacted by the present options of its task too."""
        derived = ("job_id", "retries", "progress", "due_at", "attempt_trace_id", "waits_for")
        fields = {name: getattr(record, name) for name in cls.__struct_fields__ if name not in derived}
        redactable = {name: getattr(record, name) for name in REDACTABLE}
        visible = RedactedView(queues.tasks).of_record(record.task, redactable)
        visible["logs"] = _lines(visible["errors"] or [], visible["logs"] or [], record.attempts)
        visible["errors"] = [attempt(each) for each in visible["errors"] or []]
        trace = trace_of_attempt(record.attempt_trace)
        return cls(job_id=record.key, attempt_trace_id=trace, **{**fields, **visible, "tags": record.tags or []})


def attempt(entry: dict[str, Any]) -> dict[str, Any]:
    """An attempt that did not complete, as records have it, with ISO times in addition to the epoch milliseconds."""
    entry = {name: value for name, value in entry.items() if name != "logs"}
    return {**entry, **{f"{name}_at": moment(entry.get(name)) for name in ("started", "ended")}}


def _lines(errors: Sequence[dict[str, Any]], last: Sequence[dict[str, Any]], attempts: int) -> list[dict[str, Any]]:
    """The lines of all attempts: those that did not complete have theirs in `errors`."""
    of_attempts = [*((each["attempt"], each.get("logs") or ()) for each in errors), (attempts, last)]
    return [{"attempt": number, **line, "at": moment(line["at"])} for number, lines in of_attempts for line in lines]
