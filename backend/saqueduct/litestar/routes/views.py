"""A job as the routes show it."""

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType
from saq import Job

from saqueduct.common.moments import milliseconds
from saqueduct.postgres.job_details import JobDetails, JobSummary
from saqueduct.queue.limit_waits import LimitWait
from saqueduct.queue.queues import Queues
from saqueduct.queue.redacted_view import error_summary

if TYPE_CHECKING:
    from saqueduct.postgres.models import JobRecord

_OUTCOME = ("result", "error", "errors")

_FOR_ROLES = (
    "arguments",
    "logs",
    "worker",
    "recoveries",
    "schedule",
    "parent",
    "trace_id",
    "attempt_trace_id",
    "tags",
    "replay_of",
    "waits_for",
)


class JobView(JobSummary, kw_only=True):
    """The state of a job."""

    retries: int
    progress: float
    """0.0 to 1.0, as the job reports it."""
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
    arguments: dict[str, Any] | UnsetType | None = UNSET
    """For people with a role, as all that follows; without the values that the task redacts."""
    logs: list[dict[str, Any]] | UnsetType = UNSET
    """What its attempts logged, if its task keeps that, once it is recorded."""
    worker: str | UnsetType | None = UNSET
    recoveries: int | UnsetType = UNSET
    schedule: str | UnsetType | None = UNSET
    parent: str | UnsetType | None = UNSET
    trace_id: str | UnsetType | None = UNSET
    """32 hex digits: the trace that it was enqueued in."""
    attempt_trace_id: str | UnsetType | None = UNSET
    """The trace of its last attempt, if that was sampled."""
    tags: list[str] | UnsetType = UNSET
    replay_of: str | UnsetType | None = UNSET
    waits_for: list[LimitWait] | UnsetType = UNSET
    """Its limits, while it waits for them, those that hold it up first."""

    @classmethod
    def of(cls, job: Job) -> "JobView":
        """Of a job that Redis, or the outbox, has."""
        return cls._of(JobDetails.of_job(job), job.queued, job.started, job.completed, job.scheduled)

    @classmethod
    async def of_waiting(cls, queues: Queues, job: Job) -> "JobView":
        """Of a job that Redis has, with what it waits for."""
        return cls._of(await JobDetails.of_waiting(queues, job), job.queued, job.started, job.completed, job.scheduled)

    @classmethod
    def remembered(cls, queues: Queues, record: "JobRecord") -> "JobView":
        """Of the record of a job."""
        details = JobDetails.of_record(queues, record)
        details.retries, details.progress = record.attempts, 1.0 if record.status == "complete" else 0.0
        started, completed = milliseconds(record.started_at), milliseconds(record.ended_at)
        return cls._of(details, milliseconds(record.queued_at), started, completed, 0)

    @classmethod
    def _of(cls, details: JobDetails, queued: int, started: int, completed: int, scheduled: int) -> "JobView":
        fields = {name: getattr(details, name) for name in cls.__struct_fields__ if hasattr(details, name)}
        fields["error"] = error_summary(details.error)
        fields["errors"] = [{**each, "error": error_summary(each.get("error"))} for each in details.errors]
        return cls(**fields, queued=queued, started=started, completed=completed, scheduled=scheduled)

    def without_details(self) -> "JobView":
        """For those who have the job's token: its status and its outcome."""
        return msgspec.structs.replace(self, **dict.fromkeys(_FOR_ROLES, UNSET))

    def without_outcome(self) -> "JobView":
        """For those who may see no more than the status."""
        return msgspec.structs.replace(self, **dict.fromkeys((*_OUTCOME, *_FOR_ROLES), UNSET))
