"""Listing: the jobs that wait or run, page by page."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from saq import Job

from app.queue.engine.outage import answering
from app.queue.errors import InvalidCursor

if TYPE_CHECKING:
    from app.queue.engine.queue import EngineQueue

CHUNK = 500
"""Jobs read in one round trip."""

SCAN = 10_000
"""Jobs that are looked at for one page; the next page goes on behind them."""

LIVE = ("new", "queued", "active", "aborting")
"""Statuses of jobs that have not ended."""


class LivePage(NamedTuple):
    """Some jobs, and where the next page begins (None: there is none)."""

    jobs: list[Job]
    cursor: str | None


async def page(
    queues: "Sequence[EngineQueue]", wanted: Callable[[Job], bool], cursor: str | None, limit: int
) -> LivePage:
    """A page of the jobs that have not ended: those that are due first, then delayed ones by their time.

    Jobs come and go meanwhile, so that one may be missing between two pages, or stand in both.

    Args:
        queues: in this order.
        wanted: says which jobs are meant.
        cursor: of the page before; None: the first page.
        limit: jobs at most.

    Raises:
        InvalidCursor: the cursor was not made by this.
        QueueUnavailable: Redis did not answer.
    """
    index, rank = _place(cursor, len(queues))
    found: list[Job] = []
    scanned = 0
    while index < len(queues) and scanned < SCAN:
        queue = queues[index]
        async with answering():
            ids = cast(
                "list[bytes]",
                await queue.redis.zrange(queue.namespace("incomplete"), rank, rank + CHUNK - 1),
            )
            jobs = await queue.jobs([queue.job_key_from_id(job_id.decode()) for job_id in ids])
        for job in jobs:
            rank, scanned = rank + 1, scanned + 1
            if job is not None and wanted(job):
                found.append(job)
                if len(found) == limit:
                    return LivePage(found, f"{index}:{rank}")
        if len(ids) < CHUNK:
            index, rank = index + 1, 0
    return LivePage(found, f"{index}:{rank}" if index < len(queues) else None)


def _place(cursor: str | None, queues: int) -> tuple[int, int]:
    if cursor is None:
        return 0, 0
    index, _, rank = cursor.partition(":")
    if not (index.isdecimal() and rank.isdecimal() and int(index) < queues):
        raise InvalidCursor(cursor)
    return int(index), int(rank)
