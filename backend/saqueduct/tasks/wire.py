"""Wire: SAQ's wire format of a job, its fields and what each may hold."""

import dataclasses
import json
import logging
import operator
from typing import Annotated, Any

import msgspec
from saq import Job
from saq.job import Status

from saqueduct.common.text import storable
from saqueduct.common.time_limits import LAST_SECOND
from saqueduct.tasks import encoding
from saqueduct.tasks.encoding import EXACT
from saqueduct.tasks.job_meta import PREFIX

logger = logging.getLogger("saqueduct")

_Int = Annotated[int, msgspec.Meta(ge=-EXACT, le=EXACT)]
_Number = _Int | Annotated[float, msgspec.Meta(ge=-EXACT, le=EXACT)]
"""Numbers that Python, Lua and JSON agree on: no NaN, none beyond what a double holds exactly."""

_Moment = Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND * 1000 + 999)]
"""Epoch milliseconds; 0: not yet."""

_Seconds = Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)] | Annotated[float, msgspec.Meta(ge=0, le=LAST_SECOND)]

_Due = (
    Annotated[int, msgspec.Meta(ge=-EXACT, le=LAST_SECOND)] | Annotated[float, msgspec.Meta(ge=-EXACT, le=LAST_SECOND)]
)
"""Epoch seconds before which a job does not start; 0, or a time that is past: at once."""

TYPES: dict[str, Any] = {
    **dict.fromkeys(("function", "key"), str),
    **dict.fromkeys(("timeout", "heartbeat"), _Seconds | None),
    **dict.fromkeys(("retries", "ttl", "progress", "priority"), _Number),
    "retry_delay": _Seconds,
    "scheduled": _Due,
    **dict.fromkeys(("completed", "queued", "started", "touched"), _Moment),
    **dict.fromkeys(("error", "group_key", "worker_id"), str | None),
    "kwargs": dict[str, Any] | None,
    "retry_backoff": bool | _Seconds,
    "attempts": _Int,
    "result": Any,
    "status": Status,
}
REQUIRED = ("function", "key")
DEFAULTS = {field.name: field.default for field in dataclasses.fields(Job)}
FIELDS = (*REQUIRED, *(name for name in DEFAULTS if name not in (*REQUIRED, "queue", "meta")))

Wire = msgspec.defstruct(
    "Wire",
    [
        ("queue", str),
        *((name, TYPES[name]) for name in REQUIRED),
        *((name, TYPES[name], DEFAULTS[name]) for name in FIELDS[len(REQUIRED) :]),
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
    stalls: _Count = 0
    round: _Count = 0
    schedule: str | None = None
    tick: _Number | None = None
    durable: bool = False
    parent: str | None = None
    trace_id: str | None = None
    tags: list[str] | None = None
    replay_of: str | None = None


_REPAIRED = {**DEFAULTS, "status": Status.QUEUED}
"""What stands in place of a field that cannot be read."""

IDENTITY = ("function", "key", "queue", "kwargs")
"""What has no default, and no update changes: without it there is no telling what was to run."""

_decode = msgspec.json.Decoder(Wire).decode
_encode = msgspec.json.Encoder().encode
_values = operator.itemgetter(*FIELDS)


def encode(fields: dict[str, Any], queue: str) -> bytes:
    """The fields of a job, by name, as JSON. Raises as `msgspec.json.encode`."""
    return _encode(Wire(queue, *_values(fields), fields["meta"] or None))


def convert(fields: dict[str, Any]) -> dict[str, Any]:
    """All fields of a job out of some of them, checked.

    Raises:
        msgspec.ValidationError: one that SAQ's Job does not have, or of a wrong type, or a required one is missing.
    """
    return _checked(msgspec.convert(fields, Wire))


def decode(payload: dict[str, Any] | str | bytes) -> dict[str, Any]:
    """The fields of a job out of its JSON, or JSON builtins.

    A field that cannot be read has its default: it must not cost the job.

    Raises:
        ValueError: it is no job, or one without a function, a key, a queue or arguments that can be read.
    """
    try:
        wire: Any = msgspec.convert(payload, Wire) if isinstance(payload, dict) else _decode(payload)
        if wire.meta:
            return _checked(wire)
    except msgspec.DecodeError:
        return _repaired(payload)
    # Most jobs; a call less for each.
    fields: dict[str, Any] = msgspec.structs.asdict(wire)
    fields["meta"] = {}
    return fields


def travels(name: str, value: Any) -> bool:
    """True for a value of a field that can be read again."""
    try:
        encoding.encode(convert({"queue": "", "function": "", "key": "", name: value}))
    except Exception:
        return False
    return True


def _checked(wire: Any) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.structs.asdict(wire)
    if fields["meta"]:
        msgspec.convert(fields["meta"], _Meta)
    else:
        fields["meta"] = {}
    return fields


def _repaired(payload: dict[str, Any] | str | bytes) -> dict[str, Any]:
    # Python's parser also takes NaN and lone surrogates, which SAQ writes.
    raw = json.loads(payload) if isinstance(payload, str | bytes) else payload
    if not isinstance(raw, dict):
        raise ValueError("it is no JSON object")
    fields = {name: raw[name] for name in IDENTITY if name in raw}
    encoding.encode(fields)
    for name in raw.keys() & (TYPES.keys() | {"meta"}) - set(IDENTITY):
        fields[name] = _read(name, raw[name])
    spoilt = sorted(name for name in raw if name not in fields or fields[name] != raw[name])
    read = convert(fields)
    logger.warning("job %s: these fields cannot be read and are replaced: %s", read["key"], ", ".join(spoilt))
    return read


def _read(name: str, value: Any) -> Any:
    """A value of a field, or what stands in place of one that cannot be read."""
    if name == "meta":
        entries = value if isinstance(value, dict) else {}
        return {entry: each for entry, each in entries.items() if travels("meta", {entry: each})}
    if isinstance(value, str):
        value = storable(value)
    return value if travels(name, value) else _REPAIRED[name]
