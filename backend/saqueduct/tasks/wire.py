"""Wire: SAQ's wire format of a job, its fields and their valid values."""

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
"""Numbers that are the same in Python, Lua and JSON: no NaN, nothing beyond the exact range of a double."""

_Moment = Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND * 1000 + 999)]
"""Epoch milliseconds; 0: has not happened yet."""

_Seconds = Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)] | Annotated[float, msgspec.Meta(ge=0, le=LAST_SECOND)]

_Due = (
    Annotated[int, msgspec.Meta(ge=-EXACT, le=LAST_SECOND)] | Annotated[float, msgspec.Meta(ge=-EXACT, le=LAST_SECOND)]
)
"""Epoch seconds before which a job does not start; 0, or a time in the past: immediately."""

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
"""SAQ's wire format: the queue's name, and the fields that differ from their defaults."""


_Count = Annotated[int, msgspec.Meta(ge=0, le=32_767)]
"""Has the same limit as the count columns of the records."""


class _Meta(msgspec.Struct, rename=PREFIX.__add__):
    """The engine's entries of `meta`; others belong to the user."""

    expires_at: _Number | None = None
    at_most_once: bool = False
    unique: str | None = None
    misfit_since: _Number | None = None
    recoveries: _Count = 0
    stalls: _Count = 0
    round: _Count = 0
    limits: list[list[str]] | None = None
    debounce: list[_Number] | None = None
    replaced_by: str | None = None
    schedule: str | None = None
    tick: _Number | None = None
    durable: bool = False
    parent: str | None = None
    trace_id: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    attempt_trace: str | None = None
    tags: list[str] | None = None
    replay_of: str | None = None
    outage: tuple[_Number, _Count] | None = None
    throttled: tuple[_Number, _Count, str] | None = None


_REPAIRED = {**DEFAULTS, "status": Status.QUEUED}
"""Replacements for fields that cannot be read."""

IDENTITY = ("function", "key", "queue", "kwargs")
"""Fields without a default that no update changes: without them it is unknown what to run."""


class _Identity(msgspec.Struct):
    """The fields of IDENTITY; the arguments as JSON."""

    function: str
    key: str
    queue: str
    kwargs: msgspec.Raw = msgspec.Raw(b"")


_identify = msgspec.json.Decoder(_Identity).decode
_decode = msgspec.json.Decoder(Wire).decode
_encode = msgspec.json.Encoder().encode
_values = operator.itemgetter(*FIELDS)


def encode(fields: dict[str, Any], queue: str) -> bytes:
    """Encode the fields of a job, by name, as JSON. Raises as `msgspec.json.encode`."""
    return _encode(Wire(queue, *_values(fields), fields["meta"] or None))


def convert(fields: dict[str, Any]) -> dict[str, Any]:
    """Check the given fields of a job, and add the defaults of the others.

    Raises:
        msgspec.ValidationError: an unknown field, a wrong type, or a required field is missing.
    """
    return _checked(msgspec.convert(fields, Wire))


def decode(payload: dict[str, Any] | str | bytes) -> dict[str, Any]:
    """The fields of a job from its JSON, or JSON builtins.

    A field that cannot be read gets its default: it must not make the job fail.

    Raises:
        ValueError: it is not a job, or its function, key, queue or arguments cannot be read.
    """
    try:
        wire: Any = msgspec.convert(payload, Wire) if isinstance(payload, dict) else _decode(payload)
        if wire.meta:
            return _checked(wire)
    except msgspec.DecodeError:
        return _repaired(payload)
    # The common case; saves one call per job.
    fields: dict[str, Any] = msgspec.structs.asdict(wire)
    fields["meta"] = {}
    return fields


def is_readable(payload: bytes, key: str, queue: str) -> bool:
    """True for the JSON of a job of that key and queue, at a fifth of the cost of `decode`; False: perhaps not."""
    try:
        found = _identify(payload)
    except msgspec.DecodeError:
        return False
    # Whatever else there is would be repaired.
    return found.key == key and found.queue == queue and bytes(found.kwargs)[:1] in (b"{", b"n", b"")


def travels(name: str, value: Any) -> bool:
    """True if a value of a field can be decoded again."""
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
    # Python's parser also accepts NaN and lone surrogates, which SAQ writes.
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
    """A value of a field, or the replacement if it cannot be read."""
    if name == "meta":
        entries = value if isinstance(value, dict) else {}
        return {entry: each for entry, each in entries.items() if travels("meta", {entry: each})}
    if isinstance(value, str):
        value = storable(value)
    return value if travels(name, value) else _REPAIRED[name]
