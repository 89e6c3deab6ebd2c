"""What happened to a job, in order."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from saqueduct.console.rendering import lasting
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


class Deed(NamedTuple):
    """What a person did to a job by hand."""

    at: dt.datetime
    action: str
    who: str
    """Such as "by ada, from the console"."""
    why: str = ""
    done: bool = True
    """False where it was only planned, and nobody noted whether it was done."""

    @property
    def text(self) -> str:
        """Who did it, and why."""
        text = f"{self.who}: {self.why}" if self.why else self.who
        return text if self.done else f"{text} (not noted as done: the process that does it may have ended meanwhile)"


class Deeds(NamedTuple):
    """What people did to a job, as far as the audit has it."""

    origin: str = ""
    """Who enqueued it, as `Deed.who`; empty: code did, or it is not known."""
    later: Sequence[Deed] = ()
    """What was done to it since, oldest first."""


NONE = Deeds()

AT_THE_END = ("replay", "discard")
"""Actions after which a dead letter is resolved: its record has them too, with the time."""

PLANNED = {"retry": "Retry planned", "abort": "Abort planned"}
"""Titles of those that were not noted as done."""

BY_HAND = {"retry": ("queued", "Queued again"), "abort": ("aborting", "Abort requested")}
"""Kind and title of the other actions on jobs."""


CAUSED = {"retry": "active", "abort": "aborted"}
"""Kind of the event that the last one of these led to: it may be earlier than the entry of the audit, which processes
of an earlier release write after the action."""


def timeline(job: JobDetails, deeds: Deeds = NONE) -> list[Event]:
    """The events of a job, as far as they are kept.

    Args:
        job: the job.
        deeds: what people did to it.
    """
    events = _events(job, deeds)
    by_hand, place = [deed for deed in deeds.later if deed.action in BY_HAND], len(events)
    for deed in reversed(by_hand):
        result = CAUSED[deed.action] if deed is by_hand[-1] else ""
        place = next((each for each, event in enumerate(events[:place]) if _follows(event, deed, result)), place)
        kind, title = BY_HAND[deed.action]
        events.insert(place, Event(deed.at, kind, title if deed.done else PLANNED[deed.action], deed.text))
    return events


def _follows(event: Event, deed: Deed, result: str) -> bool:
    """True for an event after a deed, by its time or as the result of it."""
    return event.kind == result or (event.at is not None and event.at > deed.at)


def _events(job: JobDetails, deeds: Deeds) -> list[Event]:
    events = [Event(job.queued_at, "new", "Enqueued", _origin(job, deeds.origin))]
    if job.due_at is not None and job.started_at is None:
        events.append(Event(job.due_at, "queued", "Due", "it does not start before"))
    events += [_failed(each, job) for each in job.errors if not _is_last(each, job)]
    if job.recoveries:
        times = "once" if job.recoveries == 1 else f"{job.recoveries} times"
        events.append(
            Event(None, "aborting", f"Recovered {times}", "its worker died or went away; it costs no attempt")
        )
    if job.started_at is not None:
        waited = (job.started_at - job.queued_at).total_seconds() if job.queued_at and job.attempts <= 1 else None
        last = next((each for each in job.errors if _is_last(each, job)), {})
        worker = _by(job.worker, last.get("version"))
        events.append(Event(job.started_at, "active", f"Attempt {job.attempts} started", worker, "", waited))
    if job.ended_at is not None:
        took = (job.ended_at - job.started_at).total_seconds() if job.started_at else None
        events.append(Event(job.ended_at, job.status, f"Ended {job.status}", "", job.error or "", took))
    elif job.error:
        events.append(Event(None, "failed", "Last error", "", job.error))
    if job.resolution is not None:
        events.append(Event(job.resolved_at, job.resolution, job.resolution.capitalize(), _resolver(job, deeds)))
    return events


def _origin(job: JobDetails, person: str) -> str:
    if job.schedule:
        return f"{person}, with the schedule {job.schedule}" if person else f"by the schedule {job.schedule}"
    if job.replay_of:
        return f"{person}, as a replay of {job.replay_of}" if person else f"as a replay of {job.replay_of}"
    return person or (f"by the job {job.parent}" if job.parent else "")


def _resolver(job: JobDetails, deeds: Deeds) -> str:
    """Who resolved a dead letter; its record has the person, and the audit where that was. Of one that was queued
    again neither says it here."""
    if job.resolved_by is None:
        return ""
    place = next((deed.who for deed in reversed(deeds.later) if deed.action in AT_THE_END), "")
    who = place if place.startswith(f"by {job.resolved_by}, ") else f"by {job.resolved_by}"
    return f"{who}: {job.resolved_why}" if job.resolved_why else who


def _failed(entry: dict[str, Any], job: JobDetails) -> Event:
    if entry.get("outcome") == "throttled":
        return Event(None, "aborting", str(entry["error"]), "it closed its limit; that costs no attempt")
    started, ended = entry.get("started_at"), entry.get("ended_at")
    took = (ended - started).total_seconds() if started and ended else None
    worker = _by(entry.get("worker"), entry.get("version"))
    if entry.get("attempt") == 1 and started and job.queued_at is not None:
        waited = f"after {lasting((started - job.queued_at).total_seconds())}"
        worker = f"{worker}, {waited}" if worker else waited
    return Event(
        ended or started, "failed", f"Attempt {entry.get('attempt')} failed", worker, entry.get("error") or "", took
    )


def _by(worker: str | None, version: str | None) -> str:
    return f"by {worker}, version {version}" if worker and version else f"by {worker}" if worker else ""


def _is_last(entry: dict[str, Any], job: JobDetails) -> bool:
    """The end of the job says the same."""
    if entry.get("outcome") == "throttled":
        return False
    return job.ended_at is not None and entry.get("attempt") == job.attempts and job.status == "failed"
