"""The engine's entries of `Job.meta`: data stored with a job that has no field in SAQ's Job.

Their names begin with PREFIX. All other entries belong to the user, and the engine ignores them.
"""

from collections.abc import Mapping
from typing import Any

PREFIX = "saqueduct."
"""Prefix of the names of the engine's entries."""

EXPIRES_AT = f"{PREFIX}expires_at"
"""Epoch seconds after which the job must not start."""

AT_MOST_ONCE = f"{PREFIX}at_most_once"
"""True if the job must not run again after its worker died."""

CLAIM = f"{PREFIX}unique"
"""The claim that the job releases when it ends."""

MISFIT_SINCE = f"{PREFIX}misfit_since"
"""Epoch seconds, by the clock of Redis, when a worker whose code does not fit the job first released it."""

RECOVERIES = f"{PREFIX}recoveries"
"""How often it was queued again after its worker died."""

STALLS = f"{PREFIX}stalls"
"""How often it was queued again because another job blocked the event loop of its worker."""

OUTAGE = f"{PREFIX}outage"
"""Since when, in epoch seconds, and how often the job has been postponed because of an outage."""

THROTTLED = f"{PREFIX}throttled"
"""Since when, in epoch seconds (0: its last attempt was not), how often in all, and by which limit the job has been
throttled."""

ROUND = f"{PREFIX}round"
"""Manual retry number: how often it was queued again by hand after its end; `lua/publish.lua` reads it too."""

LIMITS = f"{PREFIX}limits"
"""Its limits: of each the name, the key and the rule, see `limit_keys.py`."""

DEBOUNCE = f"{PREFIX}debounce"
"""Of a debounced job: its wait and maximum wait (0: none) in seconds; while it waits in Redis, also when its first call
was made, in epoch seconds, and the number of its calls."""

REPLACED_BY = f"{PREFIX}replaced_by"
"""Key of the job that took its place, with the arguments of a later call."""

SCHEDULE = f"{PREFIX}schedule"
"""Key of the schedule that created the job."""

TICK = f"{PREFIX}tick"
"""The tick that it was created for, in epoch seconds."""

DURABLE = f"{PREFIX}durable"
"""True if PostgreSQL keeps the job until it has ended."""

PARENT = f"{PREFIX}parent"
"""Key of the job that enqueued it."""

TRACE_ID = f"{PREFIX}trace_id"
"""32 hex digits, shared by all jobs that one request caused, see W3C Trace Context."""

TRACEPARENT = f"{PREFIX}traceparent"
"""The span that enqueued the job, as a `traceparent` of W3C Trace Context."""

TRACESTATE = f"{PREFIX}tracestate"
"""Its `tracestate`, if it has one."""

ATTEMPT_TRACE = f"{PREFIX}attempt_trace"
"""The span of its last attempt, as a `traceparent`; of a replay before its first attempt that of the dead letter."""

TAGS = f"{PREFIX}tags"
"""Words for finding its record."""

REPLAY_OF = f"{PREFIX}replay_of"
"""Key of the dead letter that it replays."""


class ReservedMeta(ValueError):
    """User code used a name in `meta` that is reserved for the engine; `name` is that name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"meta: {name!r}: names that begin with {PREFIX!r} are reserved for the queue, choose another name"
        )


def put_back(meta: Mapping[str, Any]) -> int:
    """How often a job was queued again after it had begun, for a reason outside the job."""
    return int(meta.get(RECOVERIES, 0)) + int(meta.get(STALLS, 0)) if meta else 0


def engine_entries(meta: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the engine's entries, which no change within those reaches."""
    # The common case, at half the cost: its limits alone.
    if len(meta) == 1 and LIMITS in meta:
        return {LIMITS: _copied(meta[LIMITS])}
    return {name: _copied(value) for name, value in meta.items() if is_reserved(name)}


def _copied(value: Any) -> Any:
    # Lists in lists are those of LIMITS.
    return [each.copy() if isinstance(each, list) else each for each in value] if isinstance(value, list) else value


def checked(meta: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The user's `meta`, with the engine's entries unchanged.

    Args:
        meta: from user code; it may contain the engine's entries of this job, unchanged.
        own: the engine's entries of the job; None: it has none yet.

    Raises:
        ValueError: `meta` is not a mapping.
        ReservedMeta: an entry with a reserved name that the job does not have, or has with another value.
    """
    own = own or {}
    if not isinstance(meta, Mapping):
        raise ValueError(f"meta takes a mapping of JSON values by name, not {meta!r}")
    for name, value in meta.items():
        if is_reserved(name) and not (name in own and own[name] == value):
            raise ReservedMeta(name)
    return {**meta, **own}


def is_reserved(name: Any) -> bool:
    """True for a name that is reserved for the engine."""
    return isinstance(name, str) and name.startswith(PREFIX)
