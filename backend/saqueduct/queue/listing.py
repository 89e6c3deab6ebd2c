"""Listing: the jobs that wait or run, page by page, from the Redis keys that contain them."""

import base64
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, cast

import msgspec
from saq.job import Status

from saqueduct.broker.outage import answering
from saqueduct.common.text import decoded
from saqueduct.common.time_limits import LAST_SECOND
from saqueduct.errors import InvalidCursor
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.job import EngineJob

LiveState = Literal["queued", "delayed", "waiting", "active", "aborting"]
"""States of jobs that have not ended: "queued" in a list, "delayed" until their time, "waiting" for both."""

LINE = ("queued:high", "queued", "queued:low")
RUNNING = ("leases", "active")
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
"""Maximum entries that one page reads; otherwise a filter with few matches would read the whole backlog."""


class LivePage(NamedTuple):
    """Some jobs, and the cursor of the next page (None: there is none)."""

    jobs: list[EngineJob]
    cursor: str | None


class _Place(NamedTuple):
    queue: int
    part: int
    offset: int


async def page(
    queues: Sequence[EngineQueue],
    status: LiveState,
    wanted: Callable[[EngineJob], bool],
    cursor: str | None,
    limit: int,
) -> LivePage:
    """Jobs of these queues in a state; queued jobs in the order in which they run, by priority.

    Jobs move while a client reads the pages: a job may be listed twice, or not at all.

    Args:
        queues: in the order of the list; must be the same for each page.
        status: the state of the jobs to list.
        wanted: filter; returns True for the jobs to list.
        cursor: cursor from the previous page; None: the first page.
        limit: maximum jobs. A page may have fewer although more pages follow, see LOOKED_AT.

    Raises:
        InvalidCursor: the cursor was not created by this function.
        QueueUnavailable: Redis did not answer.
    """
    place: _Place | None = _decoded(cursor, len(queues), status) if cursor else _Place(0, 0, 0)
    own = STATUSES.get(status) or Status(status)
    found: dict[str, EngineJob] = {}
    looked_at = 0
    while place is not None and looked_at < LOOKED_AT:
        entries = await _entries(queues[place.queue], PARTS[status][place.part], place.offset)
        for number, job in enumerate(entries):
            if job is None or job.status is not own or job.id in found or not wanted(job):
                continue
            if len(found) == limit:
                return LivePage(list(found.values()), _encoded(place._replace(offset=place.offset + number)))
            found[job.id] = job
        looked_at += len(entries)
        place = place._replace(offset=place.offset + len(entries)) if entries else _next(place, len(queues), status)
    return LivePage(list(found.values()), _encoded(place) if place else None)


async def _entries(queue: EngineQueue, name: str, offset: int) -> list[EngineJob | None]:
    """A chunk of the entries of a key, None for entries that are not jobs; empty at its end."""
    key, redis = queue.namespace(name), cast("Any", queue.redis)
    scores: dict[str, float] = {}
    async with answering():
        if name == "incomplete":
            due = await redis.zrangebyscore(key, "(0", "+inf", offset, queue.reader.at_once, withscores=True)
            scores = {decoded(job_id): score for job_id, score in due}
            ids = list(scores)
        else:
            read = redis.zrange if name == "leases" else redis.lrange
            ids = [decoded(job_id) for job_id in await read(key, offset, offset + queue.reader.at_once - 1)]
        # Not every entry is a job, see WAKE in `lua/prelude.lua`.
        known = [job_id for job_id in ids if job_id.startswith(queue.job_id(""))]
        jobs = dict(zip(known, await queue.reader.by_id(known), strict=True))
    for job_id, score in scores.items():
        if (job := jobs.get(job_id)) is not None:
            # A retry waits until then, regardless of the time in its enqueue.
            job.scheduled = math.ceil(min(score, LAST_SECOND))
    for job in jobs.values():
        if job is not None and job.unreadable and name not in RUNNING:
            job.status = Status.QUEUED
    return [jobs.get(job_id) for job_id in ids]


def _next(place: _Place, queues: int, status: LiveState) -> _Place | None:
    if place.part + 1 < len(PARTS[status]):
        return _Place(place.queue, place.part + 1, 0)
    return _Place(place.queue + 1, 0, 0) if place.queue + 1 < queues else None


def _encoded(place: _Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _decoded(cursor: str, queues: int, status: LiveState) -> _Place:
    try:
        encoded = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        place = msgspec.json.decode(encoded, type=_Place)
    except (ValueError, msgspec.DecodeError):
        raise InvalidCursor(cursor) from None
    if not (0 <= place.queue < queues and 0 <= place.part < len(PARTS[status]) and place.offset >= 0):
        raise InvalidCursor(cursor)
    return place
