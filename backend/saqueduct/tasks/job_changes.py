"""What user code changes of a job: checked where it says so by `update`, repaired where it sets attributes."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from saq import Job
from saq.job import Status

from saqueduct.tasks import encoding, wire
from saqueduct.tasks.job import EngineJob, check
from saqueduct.tasks.job_meta import checked, engine_entries, is_reserved

logger = logging.getLogger("saqueduct.worker")

LARGEST_META = 1024 * 1024
"""Bytes of `meta` that a job keeps which had to be repaired."""

OF_THE_ENGINE = ("status", "attempts", "queued", "started", "completed", "touched", "worker_id")
"""What a task does not change of its own job."""


def updated(job: Job, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What `job.update(**changes)` sets, checked.

    Raises:
        ValueError: a field that SAQ's Job does not have, that is not to be changed, or has a wrong value.
    """
    fixed = (*wire.IDENTITY, *(OF_THE_ENGINE if getattr(job, "lease", "") else ()))
    for name in changes:
        if name not in wire.TYPES and name != "meta":
            raise ValueError(f"update: a job has no field {name!r}; there are: {', '.join([*wire.TYPES, 'meta'])}")
        if name in fixed:
            raise ValueError(f"update: {name} cannot be changed")
    _check_progress(changes.get("progress", job.progress))
    own = getattr(job, "own", None) or engine_entries(job.meta)
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
    """Give the engine's entries of `meta` back what they were, whatever the task has made of them."""
    entries = job.meta.items() if isinstance(job.meta, dict) else ()
    job.meta = {name: value for name, value in entries if not is_reserved(name)} | engine_entries(job.own or {})


def mend(serialize: Callable[[Job], object], job: EngineJob) -> None:
    """Repair a job if it cannot travel: whatever a task has spoilt, each of its attempts counts as one."""
    try:
        check(job)
        serialize(job)
    except Exception as error:
        logger.error("the job %s holds what cannot be stored, it goes on without: %s", job.key, error)
        repair(job)


def repair(job: Job) -> None:
    """Give the fields that cannot travel, as a task has spoilt them, their defaults; the rest of `meta` stays.

    Of a `meta` of more than LARGEST_META bytes only the engine's entries stay: it may be what Redis does not take.
    """
    fields = vars(job)
    fields["meta"] = _that_travel("meta", fields.get("meta"))
    if len(encoding.encode(job.meta)) > LARGEST_META:
        job.meta = engine_entries(job.meta)
    for name in wire.FIELDS[len(wire.REQUIRED) :]:
        if name not in fields or not wire.travels(name, fields[name]):
            fields[name] = _instead(name, job)


def _instead(name: str, job: Job) -> Any:
    """What stands in place of a field that cannot travel."""
    if name == "kwargs":
        return _that_travel(name, vars(job).get(name))
    # Nobody knows how many there were: it must not be tried for ever.
    return job.retries if name == "attempts" else wire.DEFAULTS[name]


def _that_travel(name: str, entries: Any) -> dict[str, Any]:
    """The entries of a field that is a mapping, without those that cannot travel."""
    found = entries.items() if isinstance(entries, dict) else ()
    return {entry: value for entry, value in found if wire.travels(name, {entry: value})}
