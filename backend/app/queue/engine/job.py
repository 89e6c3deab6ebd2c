"""EngineJob: SAQ's job, and what this process knows of it besides."""

import dataclasses
from typing import Any, NamedTuple

import msgspec
from saq import Job

from app.queue.options import Claim

_FIELDS = tuple((field.name, field.default) for field in dataclasses.fields(Job) if field.name not in ("queue", "meta"))

LATE = "|late"
"""End of the lease of a job that was taken from its hung worker."""


class EngineJob(Job):
    """A job; what is added here does not travel.

    Attributes:
        lease: under which this worker holds it; empty elsewhere.
        delay: seconds from the enqueue until it may start, by the clock of Redis; 0: `scheduled` says.
        claim: what makes it unique; None: nothing but its key.
    """

    lease: str = ""
    delay: float = 0.0
    claim: Claim | None = None


class Enqueued(NamedTuple):
    """What became of an enqueue: the key of the job that stands, and whether this call made it."""

    key: str
    created: bool


def level_of(job: Job) -> str:
    """The level of a job in its queue: priority below 0 high, above 0 low, as SAQ orders them."""
    if job.priority < 0:
        return "high"
    return "low" if job.priority > 0 else "normal"


def encode(job: Job, queue: str) -> bytes:
    """A job in SAQ's wire format: JSON of what differs from the defaults, with the queue's name."""
    fields: dict[str, Any] = {"queue": queue}
    for name, default in _FIELDS:
        value = getattr(job, name)
        if value is not default and value != default:
            fields[name] = value
    if job.meta:
        fields["meta"] = job.meta
    return msgspec.json.encode(fields)


def holder(lease: str) -> tuple[str, int]:
    """Who holds a lease, and since when in epoch milliseconds."""
    worker, microseconds = lease.removesuffix(LATE).rsplit("|", 1)
    return worker, int(microseconds) // 1000
