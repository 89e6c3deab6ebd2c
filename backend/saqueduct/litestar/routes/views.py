"""A job as the routes show it."""

import datetime as dt
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from saq import Job
from saq.job import Status

from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.rows import milliseconds
from saqueduct.queue.queues import Queues
from saqueduct.queue.redacted_view import error_summary, remembered, shown
from saqueduct.tasks.job import failure


def moment(milliseconds: float) -> dt.datetime | None:
    """Epoch milliseconds as a time; None for 0."""
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC) if milliseconds else None


class JobView(msgspec.Struct):
    """A job as it stands. Times are ISO 8601, and null where it has not come to that."""

    key: str
    job_id: str
    """The same as `key`."""
    task: str
    queue: str
    status: str
    """SAQ's statuses; "new" for one that waits in the outbox."""
    attempts: int
    retries: int
    progress: float
    """0.0 to 1.0, as the job reports it."""
    queued_at: dt.datetime | None
    started_at: dt.datetime | None
    """Start of the last attempt."""
    ended_at: dt.datetime | None
    due_at: dt.datetime | None
    """Before which it does not start."""
    queued: int
    """The same times as epoch milliseconds, 0 for none."""
    started: int
    completed: int
    scheduled: int
    """`due_at` as epoch seconds, 0 for none."""
    result: Any = UNSET
    """Left out, as `error` and `errors`, for those who may see no more than the status."""
    error: str | UnsetType | None = UNSET
    """Type and message of the last error; the traceback is in the worker's log and in the SAQ UI."""
    errors: list[dict[str, Any]] | UnsetType = UNSET
    """Attempts that did not complete, of a job that Redis has the last one: attempt, error, worker, `started_at`,
    `ended_at`, and these in epoch milliseconds."""

    @classmethod
    def of(cls, job: Job) -> "JobView":
        visible = shown(
            job.queue, {"function": job.function, "kwargs": job.kwargs, "error": job.error, "result": job.result}
        )
        return cls(
            key=job.key,
            job_id=job.key,
            task=job.function,
            queue=job.get_queue().name,
            status=job.status.value,
            attempts=job.attempts,
            retries=job.retries,
            progress=job.progress,
            queued_at=moment(job.queued),
            started_at=moment(job.started),
            ended_at=moment(job.completed),
            due_at=moment(job.scheduled * 1000),
            queued=job.queued,
            started=job.started,
            completed=job.completed,
            scheduled=job.scheduled,
            result=visible["result"],
            error=error_summary(visible["error"]),
            errors=[attempt(failure(job, visible["error"]), brief=True)] if job.status is Status.FAILED else [],
        )

    @classmethod
    def remembered(cls, queues: Queues, record: JobRecord) -> "JobView":
        """Of the record of a job."""
        visible = remembered(queues, record)
        return cls(
            key=record.key,
            job_id=record.key,
            task=record.task,
            queue=record.queue,
            status=record.status,
            attempts=record.attempts,
            retries=record.attempts,
            progress=1.0 if record.status == "complete" else 0.0,
            queued_at=record.queued_at,
            started_at=record.started_at,
            ended_at=record.ended_at,
            due_at=None,
            queued=milliseconds(record.queued_at),
            started=milliseconds(record.started_at),
            completed=milliseconds(record.ended_at),
            scheduled=0,
            result=visible["result"],
            error=error_summary(visible["error"]),
            errors=[attempt(each, brief=True) for each in visible["errors"] or []],
        )

    def without_outcome(self) -> "JobView":
        """For those who may see no more than the status."""
        return msgspec.structs.replace(self, result=UNSET, error=UNSET, errors=UNSET)


def attempt(entry: dict[str, Any], *, brief: bool = False) -> dict[str, Any]:
    """An attempt that did not complete, with ISO times beside the epoch milliseconds.

    Args:
        entry: as records have it.
        brief: the error without its traceback.
    """
    times = {f"{name}_at": moment(entry.get(name) or 0) for name in ("started", "ended")}
    error = error_summary(entry.get("error")) if brief else entry.get("error")
    return {**entry, **times, "error": error}
