"""The jobs that a job has enqueued."""

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple

from saqueduct.common.clock import time_now
from saqueduct.common.moments import CLOCKS
from saqueduct.console.view import View
from saqueduct.errors import QueueUnavailable
from saqueduct.postgres.job_details import JobDetails
from saqueduct.postgres.record_filter import in_json
from saqueduct.queue.listing import JobListing, LiveState
from saqueduct.tasks.job_meta import PARENT

MOST: Final = 50
"""Children that are shown."""

LOOKED_AT: Final = 1_000
"""Waiting and running jobs of each state that are looked at for children."""

STATES: Final[Sequence[LiveState]] = ("active", "waiting")


class Children(NamedTuple):
    """Jobs that a job has enqueued, as far as they were found."""

    jobs: Sequence[JobDetails]
    searched: bool = True
    """False: to search the records took too long."""

    @property
    def more(self) -> bool:
        """True when there may be more than are shown."""
        return len(self.jobs) >= MOST


async def children_of(view: View, job: JobDetails, *, look_live: bool = True) -> Children:
    """The children of a job: those that wait or run, and the recorded ones from the time in which it ran.

    Args:
        view: the request.
        job: the parent.
        look_live: False: Redis is known not to answer.
    """
    if job.started_at is None:
        return Children([])
    live, (recorded, searched) = await asyncio.gather(_live(view, job.key, look_live=look_live), _recorded(view, job))
    alive = {(each.key, each.queue) for each in live}
    ended = [each for each in recorded if (each.key, each.queue) not in alive]
    return Children([*live, *ended][:MOST], searched)


async def _live(view: View, key: str, *, look_live: bool) -> list[JobDetails]:
    found: list[JobDetails] = []
    if not look_live:
        return found
    words = [key.lower().encode()] if in_json(key) else []
    try:
        for state in STATES:
            listing = JobListing(list(view.queues), state, look_at=LOOKED_AT)
            page = await listing.page(lambda each: each.meta.get(PARENT) == key, None, MOST, words)
            found += [JobDetails.of_job(each) for each in page.jobs]
    except QueueUnavailable:
        return found
    return found


async def _recorded(view: View, job: JobDetails) -> tuple[Sequence[JobDetails], bool]:
    if not view.keeps_records:
        return [], True
    first = min([job.started_at, *(each["started_at"] for each in job.errors)], key=lambda at: at or _now()) or _now()
    async with view.history() as history:
        records = await history.children(job.key, first - CLOCKS, (job.ended_at or _now()) + CLOCKS, MOST)
        if records is None:
            return [], False
        return [JobDetails.of_record(view.queues, record) for record in records], True


def _now() -> dt.datetime:
    return dt.datetime.fromtimestamp(time_now(), dt.UTC)
