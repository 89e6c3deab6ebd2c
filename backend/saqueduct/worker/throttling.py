"""Throttling: a task that raises `Throttled` closes one of its job's limits, and the job waits for it at no cost."""

import logging

from saqueduct.common import clock
from saqueduct.common.exception_groups import find
from saqueduct.errors import Throttled, UnknownLimit
from saqueduct.flow.limits import gate_of
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import AT_MOST_ONCE, LIMITS, THROTTLED

logger = logging.getLogger("saqueduct.worker")

LEAST = 0.1
"""Minimum seconds for which a limit is closed: some providers answer with 0, and a job must not run in a loop."""


def known(job: EngineJob, error: BaseException) -> BaseException:
    """The error; but if it is a `Throttled` for a limit that the job does not have, one that says so."""
    names = [name for name, _, rule in job.meta.get(LIMITS, ()) if rule]
    for each in find(error, Throttled):
        if each.limit not in names:
            unknown = UnknownLimit(each.limit, names, of="the job")
            unknown.__cause__ = error
            return unknown
    return error


def throttling_of(job: EngineJob, error: BaseException, limit: float) -> tuple[str, float] | None:
    """The gate that a failed attempt closes, and for how many seconds; None: this is another failure.

    Args:
        job: leased by this worker.
        error: of the attempt, see `known`.
        limit: seconds for which a job is throttled at no cost.
    """
    found = find(error, Throttled)
    if not found and THROTTLED in job.meta:
        # Another failure ends the time that is limited.
        job.meta[THROTTLED][0] = 0
    if not found or job.meta.get(AT_MOST_ONCE):
        return None
    longest = max(found, key=lambda each: each.retry_after)
    # When it was leased, by the clock of Redis.
    current = job.started / 1000 + clock.offset()
    since, times, _ = job.meta.get(THROTTLED, (0, 0, ""))
    if since and current - since >= limit:
        return None
    job.meta[THROTTLED] = [since or current, times + 1, longest.limit]
    key = next(key for name, key, _ in job.meta[LIMITS] if name == longest.limit)
    logger.info("job %s of %s is throttled: %s", job.key, job.function, longest)
    return gate_of(longest.limit, key), max(LEAST, longest.retry_after)
