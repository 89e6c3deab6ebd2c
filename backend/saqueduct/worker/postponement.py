"""Postponement: an attempt that met an outage is not the job's failure; it is repeated later and does not count."""

import random
import time

from saq import Job

from saqueduct.common import clock
from saqueduct.common.exception_groups import find
from saqueduct.errors import EnqueueConflict, QueueUnavailable
from saqueduct.postgres.outage import outage_in, silence
from saqueduct.tasks.job_meta import OUTAGE
from saqueduct.timings import Timings

LIMIT = 24 * 60 * 60
"""Seconds for which a job is postponed, unless the settings say otherwise; after them an outage counts as a failure."""


def reason_of(error: BaseException) -> str:
    """What an error says about an outage, as text; empty: the error is the job's own."""
    if unavailable := find(error, (QueueUnavailable, EnqueueConflict)):
        return str(unavailable[0])
    return outage_in(error)


def reason_of_timeout(running_for: float) -> str:
    """Why a job that has run for so many seconds is late, if PostgreSQL did not answer meanwhile; empty: it did."""
    return "PostgreSQL did not answer" if silence.since(time.monotonic() - running_for) else ""


def pause_of(job: Job, limit: float, timings: Timings) -> float | None:
    """Seconds until the job is tried again, each pause twice as long as the one before; None: it has been postponed for
    longer than `limit` seconds."""
    # When it was leased, by the clock of Redis.
    current = job.started / 1000 + clock.offset()
    since, times = job.meta.get(OUTAGE, (current, 0))
    if current - since >= limit:
        return None
    job.meta[OUTAGE] = [since, times + 1]
    longest: float = min(timings.longest_postponement, timings.first_postponement * 2 ** min(times, 8))
    return longest * (0.5 + random.random() / 2)  # noqa: S311  (spread, not secrecy)
