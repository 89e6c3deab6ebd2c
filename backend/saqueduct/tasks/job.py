"""EngineJob: SAQ's job, and what this process knows of it besides."""

import asyncio
import os
from typing import Any, NamedTuple

from saq import Job
from saq.job import ABORT_ID_PREFIX, Status
from saq.queue.redis import ID_PREFIX
from saq.utils import now

from saqueduct.common.text import check_text, storable
from saqueduct.tasks import wire
from saqueduct.tasks.job_meta import EXPIRES_AT, ROUND, checked
from saqueduct.tasks.options import Claim

EXPIRED = "expired"
"""Error text of a job that was not started in time."""

LEASE_TEXT = 64
"""Characters that a lease has at least, see `lua/lease.lua`."""

TIME_TEXT = 16
"""Characters of the time in a lease, in epoch microseconds."""

LONGEST_KEY = 512
"""Characters of a job's key, up to four bytes each: an entry of PostgreSQL's index has 2,704 at most, the queue's name
among them."""

Held = tuple[str, str]
"""What a worker holds: the key of a job, and its lease."""

UNREADABLE = "(unreadable)"
"""Stands in place of the task of a job that cannot be read."""

LATE = "|late"
"""Mark of the lease of a job that blocks the event loop past its timeout, so that its worker gives it up."""

UNBEGUN = "|unbegun"
"""Mark of the lease of a job that its worker has not come to begin, and gives back."""

STALLED = "|stalled"
"""Mark of the lease of a job that cannot go on, because another one blocks the event loop; others may take it."""

HUNG = "|hung"
"""The same, where nobody knows which job blocks the event loop, so that it may be this one."""

ALONE = "|alone"
"""Mark of the lease of a job that runs while no other does in its process; further marks follow it."""

MARKS = (LATE, UNBEGUN, STALLED, HUNG)
"""How a worker marks the leases that it gives up itself; behind LATE and a newline is why."""


class EngineJob(Job):
    """A job; what is added here does not travel.

    Attributes:
        lease: under which this worker holds it; empty elsewhere.
        delay: seconds from the enqueue until it may start, by the clock of Redis; 0: `scheduled` says.
        expires: seconds from the enqueue by which it must have begun, by the clock of Redis; None: `meta` says.
        claim: what makes it unique; None: nothing but its key.
        new_key: its key, if that was made at random here and has not been sent to Redis; else empty.
        created: False when it stood already, in place of the one that was to be enqueued.
        recorded: True when its end is in PostgreSQL already.
        given_up: True when no outcome of this attempt counts any more, although it may still run.
        unreadable: why what is stored is no job, of one that stands in place of it to be shown; else empty.
        own: the engine's entries of `meta` as the job was leased with; None: it had none.
        failure: what is to be remembered of the attempt that did not complete; None: nothing.
        looked_up: True when it was read to be looked at, not taken to be run.
        dequeued: True when it was taken in SAQ's way, without a lease.
        ended_at: of a job that is queued once more, when it had ended, in epoch milliseconds; None: of any other.
    """

    lease: str = ""
    delay: float = 0.0
    expires: float | None = None
    claim: Claim | None = None
    new_key: str = ""
    created: bool = True
    recorded: bool = False
    given_up: bool = False
    unreadable: str = ""
    own: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    looked_up: bool = False
    dequeued: bool = False
    ended_at: int | None = None

    @property
    def abort_id(self) -> str:
        """Key that keeps the job from being enqueued while a stock worker aborts it; SAQ's lacks the queue's name."""
        return f"{ABORT_ID_PREFIX}{self.id.removeprefix(ID_PREFIX)}"


class UnreadableJob(ValueError):
    """What is stored under a key of a job is no job. `key` is that key."""

    def __init__(self, key: str, why: str) -> None:
        self.key = key
        super().__init__(f"the job {key} cannot be read: {why}")


class Enqueued(NamedTuple):
    """What became of an enqueue: the key of the job that stands, and whether this call made it.

    `published`, for a job of a caller's transaction: told True after its commit, False when it is rolled back.
    """

    key: str
    created: bool
    published: "asyncio.Future[bool] | None" = None


def make(fields: dict[str, Any]) -> EngineJob:
    """A job of these fields, as SAQ's `Job(**fields)` but checked, and in a fourth of the time.

    Args:
        fields: by name.

    Raises:
        ValueError: a field that SAQ's Job does not have, one of a wrong type, or no function or key.
    """
    return _made(wire.convert({**fields, "queue": ""}), None)


def decode(payload: dict[str, Any] | str | bytes, queue: Any) -> EngineJob:
    """The job of a queue in SAQ's wire format, as JSON or decoded already; see `wire.decode`.

    Raises:
        ValueError: it is no job, or belongs to another queue.
    """
    fields = wire.decode(payload)
    if fields["queue"] != queue.name:
        raise ValueError(f"the job {fields['key']!r} belongs to another queue than {queue.name!r}")
    fields["queue"] = queue
    job = EngineJob.__new__(EngineJob)
    job.__dict__ = fields
    return job


def stand_in(key: str, queue: Any, why: str) -> EngineJob:
    """What is shown in place of a job that cannot be read."""
    job = _made(wire.convert({"queue": "", "function": UNREADABLE, "key": key}), queue)
    job.status, job.error, job.unreadable = Status.FAILED, storable(why), why
    return job


def check(job: Job) -> None:
    """See that a job which was made elsewhere can be read again.

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
    """See that tables can hold the names of a job.

    Raises:
        ValueError: they cannot; says which.
    """
    key = job.key
    if not isinstance(job, EngineJob) or job.new_key != key:
        if len(key) > LONGEST_KEY:
            raise ValueError(f"key: {key[:40]!r}... has {len(key)} characters; it has {LONGEST_KEY} at most")
        check_text("key", key)
    if job.group_key:
        check_text("group_key", job.group_key)


def like(template: EngineJob, kwargs: dict[str, Any], meta: dict[str, Any]) -> EngineJob:
    """A new job like another that was checked, in a fourth of the time of `make`.

    Args:
        template: the other; without a key of its own the job gets a random one.
        kwargs: the arguments, checked.
        meta: the template's, and entries that need no check.
    """
    job = EngineJob.__new__(EngineJob)
    job.__dict__ = {**template.__dict__, "kwargs": kwargs, "meta": meta}
    if not job.key:
        job.key = job.new_key = random_key()
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


def random_key() -> str:
    """A random UUID (version 4) as text; `uuid.uuid4` takes three times as long."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def has_expired(job: Job, time_now: float) -> bool:
    """True when the job should have begun before `time_now`, in epoch seconds."""
    expires_at = job.meta.get(EXPIRES_AT)
    return expires_at is not None and time_now > expires_at


def mark_of(job: Job) -> str:
    """What tells a job from others that had its key before, and from itself before it was queued again by hand."""
    return f"{job.key}|{job.queued}|{job.meta.get(ROUND, 0)}"


def level_of(job: Job) -> str:
    """The level of a job in its queue: priority below 0 high, above 0 low, as SAQ orders them."""
    if job.priority < 0:
        return "high"
    return "low" if job.priority > 0 else "normal"


def encode_storable(job: Job, queue: str) -> bytes:
    """A job in SAQ's wire format, whose error may hold text that cannot be encoded: that is escaped.

    Raises:
        UnicodeEncodeError: something else cannot be encoded.
    """
    if isinstance(job.error, str):
        job.error = storable(job.error)
    return wire.encode(job.__dict__, queue)


def holder(lease: str) -> tuple[str, int]:
    """Who holds a lease, and since when in epoch milliseconds."""
    claim, _, _ = lease.partition("\n")
    for mark in (*MARKS, ALONE):
        claim = claim.removesuffix(mark)
    worker, call_and_time = claim.rsplit("|", 1)
    return worker, int(call_and_time[-TIME_TEXT:]) // 1000


def marked(lease: str) -> tuple[str, str]:
    """How the worker marked a lease that it gave up, and why; both empty: it did not give it up."""
    claim, _, why = lease.partition("\n")
    return next((mark for mark in MARKS if claim.endswith(mark)), ""), why


def ran_alone(lease: str) -> bool:
    """True of the lease of a job that ran while no other did in its process."""
    claim, _, _ = lease.partition("\n")
    return claim.removesuffix(marked(lease)[0]).endswith(ALONE)
