"""Listing: the jobs that wait or run, page by page, from the Redis keys that contain them."""

import base64
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec
from saq.job import Status

from saqueduct.broker.keys import LANES
from saqueduct.errors import InvalidCursor
from saqueduct.queue.queue import EngineQueue
from saqueduct.queue.reading import RUNNING
from saqueduct.tasks.job import EngineJob

LiveState = Literal["queued", "delayed", "waiting", "active", "aborting"]
"""States of jobs that have not ended: "queued" in a list or a lane, "delayed" until their time, "waiting" for both."""

LINE = ("queued:high", "queued", "queued:low", LANES)
PARTS: dict[str, tuple[str, ...]] = {
    "queued": LINE,
    "delayed": ("incomplete",),
    "waiting": (*LINE, "incomplete"),
    "active": RUNNING,
    "aborting": RUNNING,
}
"""The keys of a queue that contain the jobs of each state, in the order in which they are listed."""

STATUSES = {"delayed": Status.QUEUED, "waiting": Status.QUEUED}
"""The job's own status, if it has another name."""

LIVE: dict[str, LiveState] = {"queued": "waiting", "active": "active", "aborting": "aborting"}
"""SAQ's statuses of jobs that have not ended, each with its state; a delayed job has the status queued."""

LOOKED_AT = 50_000


class LivePage(NamedTuple):
    """Some jobs, and the cursor of the next page (None: there is none)."""

    jobs: list[EngineJob]
    cursor: str | None


class _Place(NamedTuple):
    queue: int
    part: int
    offset: int
    skip: int = 0
    """Entries of the chunk at the offset that other pages have."""


class JobListing:
    """The jobs of some queues in one state; queued jobs in the order in which they run, by priority, and those with
    limits after the others.

    Jobs move while a client reads the pages: a job may be listed twice, or not at all.

    Args:
        queues: in the order of the list; must be the same for each page.
        status: the state of the jobs to list.
        look_at: maximum entries that one page reads; otherwise a filter with few matches would read the whole backlog.
    """

    def __init__(self, queues: Sequence[EngineQueue], status: LiveState, *, look_at: int = LOOKED_AT) -> None:
        self._queues = queues
        self._look_at = look_at
        self._parts = PARTS[status]
        self._own = STATUSES.get(status) or Status(status)

    async def page(
        self, wanted: Callable[[EngineJob], bool], cursor: str | None, limit: int, words: Sequence[bytes] = ()
    ) -> LivePage:
        """A page of the jobs.

        Args:
            wanted: filter; returns True for the jobs to list.
            cursor: cursor from the previous page; None: the first page.
            limit: maximum jobs. A page may have fewer although more pages follow, see `look_at`.
            words: that the data of each wanted job has, in lower case: the others are not decoded.

        Raises:
            InvalidCursor: the cursor was not created by this method.
            QueueUnavailable: Redis did not answer.
        """
        place: _Place | None = self._decoded(cursor) if cursor else _Place(0, 0, 0)
        found: dict[str, EngineJob] = {}
        looked_at = 0
        while place is not None and looked_at < self._look_at:
            chunk = await self._queues[place.queue].reader.entries(self._parts[place.part], place.offset, words)
            for number, job in enumerate(chunk.jobs[place.skip :], place.skip):
                if job is None or job.status is not self._own or job.id in found or not wanted(job):
                    continue
                if len(found) == limit:
                    return LivePage(list(found.values()), _encoded(place._replace(skip=number)))
                found[job.id] = job
            looked_at += len(chunk.jobs)
            following = chunk.following
            place = self._next(place) if following is None else place._replace(offset=following, skip=0)
        return LivePage(list(found.values()), _encoded(place) if place else None)

    def _next(self, place: _Place) -> _Place | None:
        if place.part + 1 < len(self._parts):
            return _Place(place.queue, place.part + 1, 0)
        return _Place(place.queue + 1, 0, 0) if place.queue + 1 < len(self._queues) else None

    def _decoded(self, cursor: str) -> _Place:
        try:
            encoded = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            place = msgspec.json.decode(encoded, type=_Place)
        except (ValueError, msgspec.DecodeError):
            raise InvalidCursor(cursor) from None
        in_queues, in_parts = 0 <= place.queue < len(self._queues), 0 <= place.part < len(self._parts)
        if not (in_queues and in_parts and place.offset >= 0 and place.skip >= 0):
            raise InvalidCursor(cursor)
        return place


def _encoded(place: _Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")
