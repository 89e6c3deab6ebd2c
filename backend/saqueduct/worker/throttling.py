"""Throttling: a task that raises `Throttled` closes one of its job's limits, and the job waits for it at no cost."""

import logging
from collections.abc import Mapping
from contextlib import suppress

from saqueduct.common import clock
from saqueduct.common.exception_groups import find
from saqueduct.errors import InvalidArguments, Throttled, UnknownLimit
from saqueduct.flow.limits import gate_of
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import AT_MOST_ONCE, LIMITS, THROTTLED
from saqueduct.worker.functions import TaskFunctions

logger = logging.getLogger("saqueduct.worker")

LEAST = 0.1
"""Minimum seconds for which a limit is closed: some providers answer with 0, and a job must not run in a loop."""


def keys_of(job: EngineJob, error: BaseException, functions: TaskFunctions) -> dict[str, str]:
    """The keys of a job's limits by name, if the error is a `Throttled`.

    The job may be from before its task had a limit: then it has the key that its arguments make now.
    """
    if not find(error, Throttled):
        return {}
    limits: list[list[str]] = []
    with suppress(InvalidArguments):
        limits += functions.limits_of(job)
    limits += job.meta.get(LIMITS, ())
    return {name: key for name, key, rule in limits if rule}


def known(error: BaseException, keys: Mapping[str, str]) -> BaseException:
    """The error; but if it is a `Throttled` for a limit that the job does not have, one that says so."""
    for each in find(error, Throttled):
        if each.limit not in keys:
            unknown = UnknownLimit(each.limit, keys, of="the job")
            unknown.__cause__ = error
            return unknown
    return error


def longest(error: BaseException) -> Throttled | None:
    """The `Throttled` of a failed attempt that counts; None: it is another failure."""
    return max(find(error, Throttled), key=lambda each: each.retry_after, default=None)


def closed_by(throttled: Throttled, keys: Mapping[str, str]) -> tuple[str, float]:
    """The gate that it closes, and for how many seconds."""
    return gate_of(throttled.limit, keys[throttled.limit]), max(LEAST, throttled.retry_after)


def end(job: EngineJob) -> None:
    """Another failure ends the time for which a job may be throttled at no cost: it is counted anew."""
    if THROTTLED in job.meta:
        job.meta[THROTTLED][0] = 0


def costs_nothing(job: EngineJob, throttled: Throttled, limit: float) -> bool:
    """True if a failed attempt only waits for a limit that it closes; counts how often it did.

    Args:
        job: leased by this worker.
        throttled: see `longest`.
        limit: seconds for which a job is throttled at no cost.
    """
    if job.meta.get(AT_MOST_ONCE):
        return False
    # When it was leased, by the clock of Redis.
    current = job.started / 1000 + clock.offset()
    since, times, _ = job.meta.get(THROTTLED, (0, 0, ""))
    if since and current - since >= limit:
        return False
    job.meta[THROTTLED] = [since or current, times + 1, throttled.limit]
    logger.info("job %s of %s is throttled: %s", job.key, job.function, throttled)
    return True
