"""EngineJob: SAQ's job, and what this process knows of it besides."""

import asyncio
import dataclasses
import operator
import os
from typing import Any, NamedTuple

import msgspec
from saq import Job
from saq.job import ABORT_ID_PREFIX, Status
from saq.queue.redis import ID_PREFIX
from saq.utils import now

from app.queue.options import Claim

_FIELDS = tuple((field.name, field.default) for field in dataclasses.fields(Job) if field.name not in ("queue", "meta"))
_DEFAULTS = {name: None if default is dataclasses.MISSING else default for name, default in _FIELDS} | {"queue": None}
_NAMES = {*_DEFAULTS, "meta"}

_Wire = msgspec.defstruct(
    "_Wire",
    [("queue", str), *((name, Any, _DEFAULTS[name]) for name, _ in _FIELDS), ("meta", Any, None)],
    omit_defaults=True,
)
"""SAQ's wire format: the queue's name, and what differs from the defaults."""

_values = operator.itemgetter(*(name for name, _ in _FIELDS))

_STATUSES = {status.value: status for status in Status}

LATE = "|late"
"""End of the lease of a job that was taken from its hung worker."""


class EngineJob(Job):
    """A job; what is added here does not travel.

    Attributes:
        lease: under which this worker holds it; empty elsewhere.
        delay: seconds from the enqueue until it may start, by the clock of Redis; 0: `scheduled` says.
        claim: what makes it unique; None: nothing but its key.
        created: False when it stood already, in place of the one that was to be enqueued.
        recorded: True when its end is in PostgreSQL already.
        failure: what is to be remembered of the attempt that did not complete; None: nothing.
    """

    lease: str = ""
    delay: float = 0.0
    claim: Claim | None = None
    created: bool = True
    recorded: bool = False
    failure: dict[str, Any] | None = None

    @property
    def abort_id(self) -> str:
        """Key that keeps the job from being enqueued while a stock worker aborts it; SAQ's lacks the queue's name."""
        return f"{ABORT_ID_PREFIX}{self.id.removeprefix(ID_PREFIX)}"


class Enqueued(NamedTuple):
    """What became of an enqueue: the key of the job that stands, and whether this call made it.

    `published`, for a job of a caller's transaction: told True after its commit, False when it is rolled back.
    """

    key: str
    created: bool
    published: "asyncio.Future[bool] | None" = None


def make(fields: dict[str, Any]) -> EngineJob:
    """A job of these fields, as SAQ's `Job(**fields)` but four times as fast: a job is made at each end of its way.

    Args:
        fields: by name; becomes the job's own.

    Raises:
        TypeError: a field that SAQ's Job does not have, or no function or key.
        KeyError: an unknown status.
    """
    if not fields.keys() <= _NAMES or "function" not in fields or "key" not in fields:
        raise TypeError(f"these are not the fields of a job: {', '.join(map(str, fields))}")
    job = EngineJob.__new__(EngineJob)
    fields.setdefault("meta", {})
    status = fields.get("status")
    if status is not None and type(status) is not Status:
        fields["status"] = _STATUSES[status]
    job.__dict__ = {**_DEFAULTS, **fields}
    return job


def failure(job: Job, error: str | None) -> dict[str, Any]:
    """What is remembered of an attempt that did not complete; times in epoch milliseconds."""
    return {
        "attempt": job.attempts,
        "error": error,
        "worker": job.worker_id,
        "started": job.started,
        "ended": job.completed or now(),
    }


def new_key() -> str:
    """A random UUID (version 4) as text; `uuid.uuid4` takes three times as long."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def level_of(job: Job) -> str:
    """The level of a job in its queue: priority below 0 high, above 0 low, as SAQ orders them."""
    if job.priority < 0:
        return "high"
    return "low" if job.priority > 0 else "normal"


def encode(job: Job, queue: str) -> bytes:
    """A job in SAQ's wire format: JSON of what differs from the defaults, with the queue's name."""
    return msgspec.json.encode(_Wire(queue, *_values(job.__dict__), job.meta or None))


def holder(lease: str) -> tuple[str, int]:
    """Who holds a lease, and since when in epoch milliseconds."""
    worker, microseconds = lease.removesuffix(LATE).rsplit("|", 1)
    return worker, int(microseconds) // 1000
