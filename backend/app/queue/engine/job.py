"""EngineJob: SAQ's job, and what this process knows of it besides."""

import asyncio
import dataclasses
import operator
import os
from typing import Annotated, Any, NamedTuple

import msgspec
from saq import Job
from saq.job import ABORT_ID_PREFIX, Status
from saq.queue.redis import ID_PREFIX
from saq.utils import now

from app.queue.encoding import EXACT
from app.queue.meta import EXPIRES_AT, PREFIX, ROUND, checked, engine_entries
from app.queue.options import Claim

_Int = Annotated[int, msgspec.Meta(ge=-EXACT, le=EXACT)]
_Number = _Int | Annotated[float, msgspec.Meta(ge=-EXACT, le=EXACT)]
"""Numbers that Python, Lua and JSON agree on: no NaN, none beyond what a double holds exactly."""

_Moment = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
"""Epoch milliseconds until the end of the year 9999, the last that Python and PostgreSQL both know; 0: not yet."""

_TYPES: dict[str, Any] = {
    **dict.fromkeys(("function", "key"), str),
    **dict.fromkeys(("timeout", "heartbeat"), _Number | None),
    **dict.fromkeys(("retries", "ttl", "retry_delay", "scheduled", "progress", "priority"), _Number),
    **dict.fromkeys(("completed", "queued", "started", "touched"), _Moment),
    **dict.fromkeys(("error", "group_key", "worker_id"), str | None),
    "kwargs": dict[str, Any] | None,
    "retry_backoff": bool | _Number,
    "attempts": _Int,
    "result": Any,
    "status": Status,
}
_REQUIRED = ("function", "key")
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Job)}
_FIELDS = (*_REQUIRED, *(name for name in _DEFAULTS if name not in (*_REQUIRED, "queue", "meta")))

_Wire = msgspec.defstruct(
    "_Wire",
    [
        ("queue", str),
        *((name, _TYPES[name]) for name in _REQUIRED),
        *((name, _TYPES[name], _DEFAULTS[name]) for name in _FIELDS[len(_REQUIRED) :]),
        ("meta", dict[str, Any] | None, None),
    ],
    omit_defaults=True,
    forbid_unknown_fields=True,
)
"""SAQ's wire format: the queue's name, and what differs from the defaults."""


_Count = Annotated[int, msgspec.Meta(ge=0, le=32_767)]
"""Bounded as the columns that records have for counts."""


class _Meta(msgspec.Struct, rename=PREFIX.__add__):
    """The engine's entries of `meta`; others are the user's."""

    expires_at: _Number | None = None
    at_most_once: bool = False
    unique: str | None = None
    misfit_since: _Number | None = None
    recoveries: _Count = 0
    round: _Count = 0
    schedule: str | None = None
    tick: _Number | None = None
    durable: bool = False
    parent: str | None = None
    trace_id: str | None = None
    tags: list[str] | None = None
    replay_of: str | None = None


_decode = msgspec.json.Decoder(_Wire).decode
_values = operator.itemgetter(*_FIELDS)

LATE = "|late"
"""Mark of the lease of a job that blocks the event loop past its timeout, so that its worker gives it up."""

UNBEGUN = "|unbegun"
"""Mark of the lease of a job that its worker has not come to begin, and gives back."""

STALLED = "|stalled"
"""Mark of the lease of a job that cannot go on, because another one blocks the event loop; others may take it."""

HUNG = "|hung"
"""The same, where nobody knows which job blocks the event loop, so that it may be this one."""

MARKS = (LATE, UNBEGUN, STALLED, HUNG)
"""How a worker marks the leases that it gives up itself; behind LATE and a newline is why."""


MENDED_META = 1024 * 1024
"""Bytes of `meta` that a job keeps which had to be mended."""


class EngineJob(Job):
    """A job; what is added here does not travel.

    Attributes:
        lease: under which this worker holds it; empty elsewhere.
        delay: seconds from the enqueue until it may start, by the clock of Redis; 0: `scheduled` says.
        claim: what makes it unique; None: nothing but its key.
        new_key: its key, if that was made at random here and has not been sent to Redis; else empty.
        created: False when it stood already, in place of the one that was to be enqueued.
        recorded: True when its end is in PostgreSQL already.
        given_up: True when no outcome of this attempt counts any more, although it may still run.
        failure: what is to be remembered of the attempt that did not complete; None: nothing.
        looked_up: True when it was read to be looked at, not taken to be run.
        dequeued: True when it was taken in SAQ's way, without a lease.
        ended_at: of a job that is queued once more, when it had ended, in epoch milliseconds; None: of any other.
    """

    lease: str = ""
    delay: float = 0.0
    claim: Claim | None = None
    new_key: str = ""
    created: bool = True
    recorded: bool = False
    given_up: bool = False
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
    return _made(msgspec.convert({**fields, "queue": ""}, _Wire), None)


def decode(payload: dict[str, Any] | str | bytes, queue: Any) -> EngineJob:
    """The job of a queue in SAQ's wire format, as JSON or decoded already.

    Raises:
        ValueError: it is no job, or belongs to another queue.
    """
    wire: Any = _decode(payload) if isinstance(payload, str | bytes) else msgspec.convert(payload, _Wire)
    if wire.queue != queue.name:
        raise ValueError(f"the job {wire.key!r} belongs to another queue than {queue.name!r}")
    return _made(wire, queue)


def check(job: Job) -> None:
    """See that a job which was made elsewhere can be read again.

    Raises:
        ValueError: a field has a wrong type, or `meta` an entry of the engine's name.
    """
    fields = vars(job)
    if not isinstance(job, EngineJob) and job.meta:
        checked(job.meta)
    make({name: fields[name] for name in (*_FIELDS, "meta")})


def mend(job: Job) -> None:
    """Give the fields that cannot travel, as a task has spoilt them, their defaults; the rest of `meta` stays.

    Of a `meta` of more than MENDED_META bytes only the engine's entries stay: it may be what Redis does not take.
    """
    job.meta = {name: value for name, value in job.meta.items() if _travels("meta", {name: value})}
    if len(msgspec.json.encode(job.meta)) > MENDED_META:
        job.meta = engine_entries(job.meta)
    for name in _FIELDS[len(_REQUIRED) :]:
        if not _travels(name, vars(job)[name]):
            setattr(job, name, _DEFAULTS[name])


def _travels(name: str, value: Any) -> bool:
    try:
        msgspec.json.encode(make({"function": "", "key": "", name: value}).__dict__)
    except Exception:
        return False
    return True


def _made(wire: Any, queue: Any) -> EngineJob:
    fields = msgspec.structs.asdict(wire)
    if fields["meta"]:
        msgspec.convert(fields["meta"], _Meta)
    else:
        fields["meta"] = {}
    fields["queue"] = queue
    job = EngineJob.__new__(EngineJob)
    job.__dict__ = fields
    return job


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


def encode(job: Job, queue: str) -> bytes:
    """A job in SAQ's wire format: JSON of what differs from the defaults, with the queue's name."""
    return msgspec.json.encode(_Wire(queue, *_values(job.__dict__), job.meta or None))


def holder(lease: str) -> tuple[str, int]:
    """Who holds a lease, and since when in epoch milliseconds."""
    claim, _, _ = lease.partition("\n")
    for mark in MARKS:
        claim = claim.removesuffix(mark)
    worker, microseconds = claim.rsplit("|", 1)
    return worker, int(microseconds) // 1000


def marked(lease: str) -> tuple[str, str]:
    """How the worker marked a lease that it gave up, and why; both empty: it did not give it up."""
    claim, _, why = lease.partition("\n")
    return next((mark for mark in MARKS if claim.endswith(mark)), ""), why
