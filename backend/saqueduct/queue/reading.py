"""Reading: jobs as they stand. What runs is known by its lease; nothing is written when a job starts."""

import asyncio
import inspect
import json
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

from saq.job import TERMINAL_STATUSES, Status
from saq.types import CountKind, ListenCallback, QueueInfo

from saqueduct.broker.listener import SUBSCRIBED, News
from saqueduct.common.text import decoded
from saqueduct.tasks.job import EngineJob, UnreadableJob, holder, stand_in

if TYPE_CHECKING:
    from saqueduct.queue.saq_queue import LeasedQueue

logger = logging.getLogger("saqueduct")

CHUNK = 500
"""Jobs read in one round trip."""


async def jobs(queue: "LeasedQueue", ids: Sequence[str]) -> list[EngineJob | None]:
    """The jobs of these ids, None for those there are not; see `stand_in` for those that cannot be read."""
    found: list[EngineJob | None] = []
    for first in range(0, len(ids), CHUNK):
        some = ids[first : first + CHUNK]
        stored, leases, aborts = await queue.scripts.run("read", *some)
        found += [_as_it_stands(queue, *parts) for parts in zip(some, stored, leases, aborts, strict=True)]
    return found


def _as_it_stands(
    queue: "LeasedQueue", job_id: str, stored: bytes | None, lease: bytes | None, abort: bytes | None
) -> EngineJob | None:
    if stored is None:
        return None
    try:
        job = queue.read(queue.job_key_from_id(job_id), stored)
    except UnreadableJob as error:
        # Others are read by the same call.
        logger.warning("%s", error)
        job = stand_in(error.key, queue, str(error))
    job.looked_up = True
    if lease is None:
        return job
    job.worker_id, job.started = holder(lease.decode())
    job.attempts += 1
    job.status = Status.ACTIVE
    if abort is not None:
        job.status, job.error = Status.ABORTING, decoded(abort)
    return job


async def counts(queue: "LeasedQueue") -> dict[str, int]:
    """Jobs by kind; entries of aborted jobs that still lie in a list do not count."""
    async with queue.redis.pipeline(transaction=True) as pipe:
        pipe.zcard(queue.namespace("incomplete"))
        pipe.zcount(queue.namespace("incomplete"), 0, 0)
        pipe.zcard(queue.namespace("leases"))
        pipe.llen(queue.namespace("active"))
        incomplete, due, leased, taken = cast("list[int]", await pipe.execute())
    return {"incomplete": incomplete, "active": leased + taken, "queued": max(0, due - leased - taken)}


async def count(queue: "LeasedQueue", kind: CountKind) -> int:
    """Jobs of a kind, see `counts`.

    Raises:
        ValueError: an unknown kind.
    """
    kinds = await counts(queue)
    if kind not in kinds:
        raise ValueError(f"unknown kind of jobs {kind!r}; there are {', '.join(kinds)}")
    return kinds[kind]


async def live_workers(queue: "LeasedQueue") -> dict[str, bytes]:
    """The reports of live workers, as JSON, by the clock of Redis and by worker; those of stock workers by theirs."""
    answer = cast("list[bytes | None]", await queue.scripts.run("workers"))
    reports = zip(answer[::2], answer[1::2], strict=True)
    return {key.decode().rsplit(":", 1)[1]: report for key, report in reports if key and report}


async def info(queue: "LeasedQueue", with_jobs: bool, offset: int, limit: int) -> QueueInfo:
    """The queue in numbers, as SAQ tells them, and a page of its jobs: those that run first."""
    jobs_of = await counts(queue)
    numbers: QueueInfo = {
        "workers": {worker: json.loads(report) for worker, report in (await live_workers(queue)).items()},
        "name": queue.name,
        "queued": jobs_of["queued"],
        "active": jobs_of["active"],
        "scheduled": jobs_of["incomplete"] - jobs_of["queued"] - jobs_of["active"],
        "jobs": [],
    }
    if not with_jobs:
        return numbers
    last = offset + limit - 1
    async with queue.redis.pipeline(transaction=False) as pipe:
        pipe.zrange(queue.namespace("leases"), offset, last)
        pipe.lrange(queue.namespace("active"), offset, last)
        pipe.zrange(queue.namespace("incomplete"), offset, last)
        pages = cast("list[list[bytes]]", await pipe.execute())
    ids = dict.fromkeys(decoded(job_id) for page in pages for job_id in page)
    numbers["jobs"] = [job.to_dict() for job in await jobs(queue, list(ids)) if job is not None]
    return numbers


async def listen(queue: "LeasedQueue", ids: Sequence[str], callback: ListenCallback, timeout: float | None) -> None:
    """Call back with each change of these jobs until the callback answers true; see `LeasedQueue.listen`."""
    news: News = asyncio.Queue()
    async with AsyncExitStack() as stack:
        for job_id in ids:
            await stack.enter_async_context(queue.listener.news(job_id, news))
        while ids:
            job_id, word = await asyncio.wait_for(news.get(), timeout)
            if word == SUBSCRIBED:
                [job] = await jobs(queue, [job_id])
                if job is None or job.status not in TERMINAL_STATUSES:
                    continue
                word = job.status.value
            answer: Any = callback(queue.job_key_from_id(job_id), Status(word))
            if await answer if inspect.isawaitable(answer) else answer:
                return
