"""The engine's entries of `Job.meta`: what travels with a job and has no field in SAQ's Job.

Their names begin with PREFIX. All other entries are the user's, and mean nothing to the engine.
"""

from collections.abc import Mapping
from typing import Any

PREFIX = "saqueduct."
"""Begins the names of the engine's entries."""

EXPIRES_AT = f"{PREFIX}expires_at"
"""Epoch seconds after which the job must not start."""

AT_MOST_ONCE = f"{PREFIX}at_most_once"
"""True when the job must not run again after the death of its worker."""

CLAIM = f"{PREFIX}unique"
"""The claim that the job gives up at its end."""

MISFIT_SINCE = f"{PREFIX}misfit_since"
"""Epoch seconds, by the clock of Redis, at which a worker whose code does not fit the job first gave it back."""

RECOVERIES = f"{PREFIX}recoveries"
"""Times that it was put back after the death of its worker."""

STALLS = f"{PREFIX}stalls"
"""Times that it was put back because another job blocked the event loop of its worker."""

OUTAGE = f"{PREFIX}outage"
"""Since when the job has been postponed because of an outage, in epoch seconds, and how often."""

ROUND = f"{PREFIX}round"
"""Times that it was queued again by hand after its end; `scripts/publish.lua` reads it too."""

SCHEDULE = f"{PREFIX}schedule"
"""Key of the schedule that made the job."""

TICK = f"{PREFIX}tick"
"""The tick that it was made for, in epoch seconds."""

DURABLE = f"{PREFIX}durable"
"""True when PostgreSQL remembers the job until it has ended."""

PARENT = f"{PREFIX}parent"
"""Key of the job that enqueued it."""

TRACE_ID = f"{PREFIX}trace_id"
"""32 hex digits that all jobs share which one request led to, see W3C Trace Context."""

TAGS = f"{PREFIX}tags"
"""Words to find its record by."""

REPLAY_OF = f"{PREFIX}replay_of"
"""Key of the dead letter that it was made of."""


class ReservedMeta(ValueError):
    """User code gave an entry of `meta` a name that is the engine's; `name` is that name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"meta: {name!r}: names that begin with {PREFIX!r} are the queue's own, choose another name")


def put_back(meta: Mapping[str, Any]) -> int:
    """Times that a job was put back after it had begun, through no fault of its own."""
    return int(meta.get(RECOVERIES, 0)) + int(meta.get(STALLS, 0)) if meta else 0


def engine_entries(meta: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the engine's entries."""
    return {
        name: value.copy() if isinstance(value, list) else value for name, value in meta.items() if is_reserved(name)
    }


def checked(meta: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What user code says of `meta`, with the engine's entries as they were.

    Args:
        meta: the user's; it may hold the engine's entries of this job, unchanged.
        own: the engine's entries of the job; None: it has none yet.

    Raises:
        ValueError: `meta` is no mapping.
        ReservedMeta: an entry of the engine's name that the job does not have, or has with another value.
    """
    own = own or {}
    if not isinstance(meta, Mapping):
        raise ValueError(f"meta takes a mapping of JSON values by name, not {meta!r}")
    for name, value in meta.items():
        if is_reserved(name) and not (name in own and own[name] == value):
            raise ReservedMeta(name)
    return {**meta, **own}


def is_reserved(name: Any) -> bool:
    """True for the name of an entry that is the engine's."""
    return isinstance(name, str) and name.startswith(PREFIX)
