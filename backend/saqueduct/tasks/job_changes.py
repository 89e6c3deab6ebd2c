"""Changes that user code makes to a job: `update` checks them; attributes that it sets directly are repaired."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from saq import Job
from saq.job import Status

from saqueduct.tasks import encoding, wire
from saqueduct.tasks.job import EngineJob, check, own_fields
from saqueduct.tasks.job_meta import LIMITS, checked, engine_entries, is_reserved

logger = logging.getLogger("saqueduct.worker")

LARGEST_META = 1024 * 1024
"""Maximum bytes of `meta` that a repaired job keeps."""

OF_THE_ENGINE = ("status", "attempts", "queued", "started", "completed", "touched", "worker_id")
"""Fields that a task must not change in its own job."""


def updated(job: Job, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `job.update(**changes)` sets, checked.

    Raises:
        ValueError: an unknown field, a field that must not change, or a wrong value.
    """
    fixed = (*wire.IDENTITY, *(OF_THE_ENGINE if own_fields(job).lease else ()))
    for name in changes:
        if name not in wire.TYPES and name != "meta":
            raise ValueError(f"update: a job has no field {name!r}; there are: {', '.join([*wire.TYPES, 'meta'])}")
        if name in fixed:
            raise ValueError(f"update: {name} cannot be changed")
    _check_progress(changes.get("progress", job.progress))
    own = engine_entries(own_fields(job).own or job.meta)
    found = {name: _checked(name, value) for name, value in changes.items()}
    return found | {"meta": checked(found["meta"], own)} if "meta" in found else found


def _check_progress(progress: Any) -> None:
    if isinstance(progress, bool) or not isinstance(progress, int | float) or not 0 <= progress <= 1:
        raise ValueError(f"update: progress must be a number from 0.0 to 1.0, not {progress!r}")


def _checked(name: str, value: Any) -> Any:
    try:
        found = wire.convert({"queue": "", "function": "", "key": "", name: value})[name]
        encoding.encode({name: found})
    except encoding.UNENCODABLE as error:
        raise ValueError(f"update: {name}: {error}") from None
    return Status(found) if name == "status" else found


def keep_own(job: EngineJob) -> None:
    """Restore the engine's entries of `meta`, in case the task has changed them."""
    meta = job.meta
    # The common case: its limits alone. They are texts, and so not only equal, but the same.
    if type(meta) is dict and len(meta) == 1 and LIMITS in meta and meta == job.own:
        return
    entries = job.meta.items() if isinstance(job.meta, dict) else ()
    job.meta = {name: value for name, value in entries if not is_reserved(name)} | engine_entries(job.own or {})


def make_storable(serialize: Callable[[Job], object], job: EngineJob) -> None:
    """Repair a job that cannot be encoded: its attempts must count even if a task has set invalid fields."""
    try:
        check(job)
        serialize(job)
    except Exception as error:
        logger.error("the job %s contains what cannot be stored, it continues without: %s", job.key, error)
        repair(job)


def repair(job: Job) -> None:
    """Reset the fields that cannot be encoded, because a task changed them, to their defaults; keep the rest of `meta`.

    If `meta` has more than LARGEST_META bytes, only the engine's entries stay: it may be too large for Redis.
    """
    fields = vars(job)
    fields["meta"] = _that_travel("meta", fields.get("meta"))
    if len(encoding.encode(job.meta)) > LARGEST_META:
        job.meta = engine_entries(job.meta)
    for name in wire.FIELDS[len(wire.REQUIRED) :]:
        if name not in fields or not wire.travels(name, fields[name]):
            fields[name] = _instead(name, job)


def _instead(name: str, job: Job) -> Any:
    """The replacement for a field that cannot be encoded."""
    if name == "kwargs":
        return _that_travel(name, vars(job).get(name))
    # The real number is unknown: the job must not be retried without end.
    return job.retries if name == "attempts" else wire.DEFAULTS[name]


def _that_travel(name: str, entries: Any) -> dict[str, Any]:
    """The entries of a mapping field, without those that cannot be encoded."""
    found = entries.items() if isinstance(entries, dict) else ()
    return {entry: value for entry, value in found if wire.travels(name, {entry: value})}
