"""EngineJob: SAQ's job with additional fields that only this process uses."""

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from saq import Job
from saq.job import ABORT_ID_PREFIX, Status
from saq.queue.redis import ID_PREFIX
from saq.utils import now

from saqueduct.common.text import check_key, check_text, storable
from saqueduct.tasks import wire
from saqueduct.tasks.job_log import JobLog
from saqueduct.tasks.job_meta import EXPIRES_AT, ROUND, checked
from saqueduct.tasks.unique import Claim

EXPIRED = "expired"
"""Error text of a job that was not started in time."""

LEASE_TEXT = 64
"""Minimum characters of a lease, see `lua/lease.lua`."""

TIME_TEXT = 16
"""Characters of the time in a lease, in epoch microseconds."""

Held = tuple[str, str]
"""A leased job: its key, and its lease."""

UNREADABLE = "(unreadable)"
"""Shown instead of the task name of a job that cannot be read."""

_VARIANT = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}
"""The digit of a UUID that has its variant and two random bits, by a random digit."""

LATE = "|late"
"""Marks the lease of a job that blocks the event loop past its timeout, so its worker gives it up."""

UNBEGUN = "|unbegun"
"""Marks the lease of a job that its worker could not begin in time, and releases."""

STALLED = "|stalled"
"""Marks the lease of a job that cannot continue, because another one blocks the event loop; others may take it."""

HUNG = "|hung"
"""The same, if it is unknown which job blocks the event loop: it may be this one."""

ALONE = "|alone"
"""Marks the lease of a job that runs alone in its process; further marks follow it."""

MARKS = (LATE, UNBEGUN, STALLED, HUNG)
"""Marks that a worker sets on leases that it gives up itself; the reason follows LATE and a newline."""


class EngineJob(Job):
    """A job; the fields added here are not stored.

    Attributes:
        lease: the lease of this worker on the job; empty elsewhere.
        delay: seconds from the enqueue until it may start, by the clock of Redis; 0: use `scheduled`.
        expires: seconds from the enqueue by which it must have begun, by the clock of Redis; None: use `meta`.
        claim: its unique claim; None: only its key is unique.
        new_key: its key, if it was generated here at random and not yet sent to Redis; else empty.
        created: False if this job already existed and no new one was enqueued.
        recorded: True when its end is in PostgreSQL already.
        given_up: True if the outcome of this attempt is discarded, although it may still run.
        offered: True while other workers may take the job, because the event loop of its worker was blocked.
        unreadable: why the stored data is not a job, if this one is only a placeholder for display; else empty.
        own: the engine's entries of `meta` at the time of the lease; None: it had none.
        failure: what to record about an attempt that did not complete; None: nothing.
        looked_up: True if it was only read, not leased to run.
        dequeued: True if it was taken with SAQ's `dequeue`, without a lease.
        logs: the lines of this attempt, if they are kept; None: they are not.
        ran: seconds that its attempt has run; less than 0: it has not begun, or nothing measures it.
        limited: True for a new job that has limits.
        version: of the code that this attempt ran, if it did not complete; empty: unknown.
        ended_at: for a job that is queued again, when it had ended, in epoch milliseconds; None for all others.
    """

    lease: str = ""
    delay: float = 0.0
    expires: float | None = None
    claim: Claim | None = None
    new_key: str = ""
    created: bool = True
    recorded: bool = False
    given_up: bool = False
    offered: bool = False
    unreadable: str = ""
    own: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    looked_up: bool = False
    dequeued: bool = False
    ended_at: int | None = None
    ran: float = -1.0
    logs: JobLog | None = None
    limited: bool = False
    version: str = ""

    @property
    def abort_id(self) -> str:
        """Key that blocks an enqueue of the job while a stock worker aborts it; SAQ's key lacks the queue's name."""
        return f"{ABORT_ID_PREFIX}{self.id.removeprefix(ID_PREFIX)}"


def own_fields(job: Job) -> EngineJob | type[EngineJob]:
    """The fields that EngineJob adds, of any job: on one of SAQ's own class they have their defaults.

    Such jobs come from code that makes them itself, and passes them to the queue.
    """
    return job if isinstance(job, EngineJob) else EngineJob


class UnreadableJob(ValueError):
    """The data stored under the key of a job is not a job. `key` is that key."""

    def __init__(self, key: str, why: str) -> None:
        self.key = key
        super().__init__(f"the job {key} cannot be read: {why}")


class Enqueued(NamedTuple):
    """Result of an enqueue: the key of the job that now exists, and whether this call created it.

    For a job in a caller's transaction, `published` becomes True after the commit, False after a rollback. `existing`
    then has the key of the job that existed already, by the key of the job that was dropped for it.
    """

    key: str
    created: bool
    published: "asyncio.Future[bool] | None" = None
    existing: Mapping[str, str] | None = None


def make(fields: dict[str, Any]) -> EngineJob:
    """A job with these fields, like SAQ's `Job(**fields)` but checked, and in a fourth of the time.

    Args:
        fields: by name.

    Raises:
        ValueError: an unknown field, a field with a wrong type, or no function or key.
    """
    return _made(wire.convert({**fields, "queue": ""}), None)


def decode(payload: dict[str, Any] | str | bytes, queue: Any) -> EngineJob:
    """Decode a job of a queue from SAQ's wire format, given as JSON or as builtins; see `wire.decode`.

    Raises:
        ValueError: it is not a job, or belongs to another queue.
    """
    fields = wire.decode(payload)
    if fields["queue"] != queue.name:
        raise ValueError(f"the job {fields['key']!r} belongs to another queue than {queue.name!r}")
    fields["queue"] = queue
    job = EngineJob.__new__(EngineJob)
    job.__dict__ = fields
    return job


def stand_in(key: str, queue: Any, why: str) -> EngineJob:
    """A placeholder to show for a job that cannot be read."""
    job = _made(wire.convert({"queue": "", "function": UNREADABLE, "key": key}), queue)
    job.status, job.error, job.unreadable = Status.FAILED, storable(why), why
    return job


def check(job: Job) -> None:
    """Check that a job created elsewhere can be read again.

    Raises:
        ValueError: a field has a wrong type, or `meta` an entry of the engine's name.
    """
    fields = vars(job)
    if not isinstance(job, EngineJob) and job.meta:
        checked(job.meta)
    make({name: fields[name] for name in (*wire.FIELDS, "meta")})


def _made(fields: dict[str, Any], queue: Any) -> EngineJob:
    job = EngineJob.__new__(EngineJob)
    fields["queue"] = queue
    job.__dict__ = fields
    return job


def check_names(job: Job) -> None:
    """Check that the names of a job fit into the tables.

    Raises:
        ValueError: a name does not fit; says which.
    """
    key = job.key
    if not isinstance(job, EngineJob) or job.new_key != key:
        check_key(key)
    if job.group_key:
        check_text("group_key", job.group_key)


def like(template: EngineJob, kwargs: dict[str, Any], meta: dict[str, Any]) -> EngineJob:
    """A new job like a template that is already checked, in a fourth of the time of `make`.

    Args:
        template: the job to copy; if it has no key, the new job gets a random one.
        kwargs: the arguments, already checked.
        meta: that of the template, plus entries that need no check.
    """
    job = EngineJob.__new__(EngineJob)
    job.__dict__ = {**template.__dict__, "kwargs": kwargs, "meta": meta}
    if not job.key:
        job.key = job.new_key = random_key()
    return job


def failure(job: Job, error: str | None) -> dict[str, Any]:
    """What is recorded about an attempt that did not complete; times in epoch milliseconds."""
    logs, version = own_fields(job).logs, own_fields(job).version
    return {
        **({"logs": logs.lines()} if logs is not None else {}),
        **({"version": version} if version else {}),
        "attempt": job.attempts,
        "error": error,
        "worker": job.worker_id,
        "started": job.started,
        "ended": job.completed or now(),
    }


def random_key() -> str:
    """A UUID (version 7, RFC 9562) as text: the time in epoch milliseconds, and 74 random bits.

    Keys of about the same time are next to each other in the indexes of job records. Random keys in all bits would
    change another page of an index for each record.
    """
    at = f"{time.time_ns() // 1_000_000:012x}"
    bits = os.urandom(10).hex()
    return f"{at[:8]}-{at[8:]}-7{bits[:3]}-{_VARIANT[bits[3]]}{bits[4:7]}-{bits[7:19]}"


def has_expired(job: Job, time_now: float) -> bool:
    """True when the job should have begun before `time_now`, in epoch seconds."""
    expires_at = job.meta.get(EXPIRES_AT)
    return expires_at is not None and time_now > expires_at


def mark_of(job: Job) -> str:
    """Distinguishes a job from earlier jobs with its key, and from itself before a manual retry."""
    return f"{job.key}|{job.queued}|{job.meta.get(ROUND, 0)}"


def level_of(job: Job) -> str:
    """The named priority of a job in its queue: below 0 is high, above 0 is low, in SAQ's order."""
    if job.priority < 0:
        return "high"
    return "low" if job.priority > 0 else "normal"


def encode_storable(job: Job, queue: str) -> bytes:
    """A job in SAQ's wire format; text in its error that cannot be encoded is escaped.

    Raises:
        UnicodeEncodeError: something else cannot be encoded.
    """
    if isinstance(job.error, str):
        job.error = storable(job.error)
    return wire.encode(job.__dict__, queue)


def holder(lease: str) -> tuple[str, int]:
    """The worker that holds a lease, and since when, in epoch milliseconds."""
    claim, _, _ = lease.partition("\n")
    for mark in (*MARKS, ALONE):
        claim = claim.removesuffix(mark)
    worker, call_and_time = claim.rsplit("|", 1)
    return worker, int(call_and_time[-TIME_TEXT:]) // 1000


def marked(lease: str) -> tuple[str, str]:
    """The mark that the worker set on a lease that it gave up, and the reason; both empty if it did not."""
    claim, _, why = lease.partition("\n")
    return next((mark for mark in MARKS if claim.endswith(mark)), ""), why


def ran_alone(lease: str) -> bool:
    """True for the lease of a job that ran alone in its process."""
    claim, _, _ = lease.partition("\n")
    return claim.removesuffix(marked(lease)[0]).endswith(ALONE)
