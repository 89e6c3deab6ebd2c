"""What happened to a job, in order."""

import datetime as dt
from typing import Any, NamedTuple

from saqueduct.postgres.job_details import JobDetails


class Event(NamedTuple):
    """One line of a timeline."""

    at: dt.datetime | None
    kind: str
    """A status, for its colour."""
    title: str
    more: str = ""
    error: str = ""
    seconds: float | None = None
    """How long it took."""


def timeline(job: JobDetails) -> list[Event]:
    """The events of a job, as far as they are kept."""
    events = [Event(job.queued_at, "new", "Enqueued", _origin(job))]
    if job.due_at is not None and job.started_at is None:
        events.append(Event(job.due_at, "queued", "Due", "it does not start before"))
    events += [_failed(each) for each in job.errors if not _is_last(each, job)]
    if job.recoveries:
        times = "once" if job.recoveries == 1 else f"{job.recoveries} times"
        events.append(
            Event(None, "aborting", f"Recovered {times}", "its worker died or went away; it costs no attempt")
        )
    if job.started_at is not None:
        waited = (job.started_at - job.queued_at).total_seconds() if job.queued_at and job.attempts <= 1 else None
        worker = f"by {job.worker}" if job.worker else ""
        events.append(Event(job.started_at, "active", f"Attempt {job.attempts} started", worker, "", waited))
    if job.ended_at is not None:
        took = (job.ended_at - job.started_at).total_seconds() if job.started_at else None
        events.append(Event(job.ended_at, job.status, f"Ended {job.status}", "", job.error or "", took))
    elif job.error:
        events.append(Event(None, "failed", "Last error", "", job.error))
    if job.resolution is not None:
        why = f": {job.resolved_why}" if job.resolved_why else ""
        events.append(Event(job.resolved_at, job.resolution, job.resolution.capitalize(), f"by {job.resolved_by}{why}"))
    return events


def _origin(job: JobDetails) -> str:
    if job.schedule:
        return f"by the schedule {job.schedule}"
    if job.replay_of:
        return f"as a replay of {job.replay_of}"
    return f"by the job {job.parent}" if job.parent else ""


def _failed(entry: dict[str, Any]) -> Event:
    if entry.get("outcome") == "throttled":
        return Event(None, "aborting", str(entry["error"]), "it closed its limit; that costs no attempt")
    started, ended = entry.get("started_at"), entry.get("ended_at")
    took = (ended - started).total_seconds() if started and ended else None
    worker = f"by {entry['worker']}" if entry.get("worker") else ""
    return Event(
        ended or started, "failed", f"Attempt {entry.get('attempt')} failed", worker, entry.get("error") or "", took
    )


def _is_last(entry: dict[str, Any], job: JobDetails) -> bool:
    """The end of the job says the same."""
    if entry.get("outcome") == "throttled":
        return False
    return job.ended_at is not None and entry.get("attempt") == job.attempts and job.status == "failed"
