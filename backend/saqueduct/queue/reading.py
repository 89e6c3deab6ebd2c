"""Reading: the current state of jobs. A lease shows that a job runs; nothing is written when a job starts."""

import asyncio
import inspect
import json
import logging
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, cast

from saq.job import TERMINAL_STATUSES, Status
from saq.types import CountKind, ListenCallback, QueueInfo, WorkerInfo

from saqueduct.broker.batching import Batches
from saqueduct.broker.keys import LANES
from saqueduct.broker.listener import SUBSCRIBED, JobListener, News
from saqueduct.broker.outage import answering
from saqueduct.common.text import decoded
from saqueduct.common.time_limits import LAST_SECOND
from saqueduct.queue.core import QueueCore
from saqueduct.tasks import wire
from saqueduct.tasks.job import EngineJob, UnreadableJob, holder, stand_in

logger = logging.getLogger("saqueduct")

JOBS_PER_READ = 500
"""Jobs read in one round trip."""

RUNNING = ("leases", "active")
"""The keys of a queue that contain its running jobs: those of engine workers, and those of stock ones."""


def worker_info(report: bytes) -> WorkerInfo:
    """What a live worker says of itself in SAQ's way; nothing where that cannot be read.

    Stock workers choose their `dump`, and what is in `metadata`, so that a report can be anything.
    """
    try:
        found = json.loads(report)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        found = {}
    stats = found.get("stats")
    nothing: WorkerInfo = {"queue_key": None, "stats": None, "metadata": None}
    return {**nothing, **found, "stats": stats if isinstance(stats, dict) else None}  # type: ignore[typeddict-item]


class Chunk(NamedTuple):
    """Some entries, None for those that are not jobs, and the offset of the next chunk (None: there is none)."""

    jobs: list[EngineJob | None]
    following: int | None


def _lacks(stored: bytes | None, words: Sequence[bytes]) -> bool:
    """True when the data of a job lacks one of the words."""
    if stored is None:
        return True
    lower = stored.lower()
    return any(word not in lower for word in words)


class Reader:
    """Reads the jobs of one queue. Concurrent reads share a round trip.

    Args:
        core: of the queue.
        listener: of the queue.
        at_once: jobs read in one round trip.
    """

    def __init__(self, core: QueueCore, listener: JobListener, at_once: int = JOBS_PER_READ) -> None:
        self._core = core
        self._listener = listener
        self.at_once = at_once
        self._reads = Batches(self.by_id, at_once, check=core.guard.check)
        self._fetches = Batches(self._fetch, at_once, check=core.guard.check)

    async def job(self, key: str) -> EngineJob | None:
        """The job of that key; None if there is none or it cannot be read."""
        job = await self._reads.add(self._core.job_id(key))
        return None if job is not None and job.unreadable else job

    async def fetch(self, key: str) -> EngineJob | None:
        """The job of that key, or None; for a job that cannot be read, its placeholder.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        return await self._fetches.add(self._core.job_id(key))

    async def _fetch(self, ids: Sequence[str]) -> list[EngineJob | None]:
        # Each batch separately, as in `ResultChannel`.
        async with answering(self._core.timings.answer):
            return await self.by_id(ids)

    async def by_id(self, ids: Sequence[str], words: Sequence[bytes] = ()) -> list[EngineJob | None]:
        """The jobs of these ids, None for missing ones; see `stand_in` for those that cannot be read.

        Args:
            ids: of the jobs.
            words: None also for those whose data lacks one of them, in lower case: to read it takes 30 times as long.
        """
        found: list[EngineJob | None] = []
        words = () if self._core.stores_otherwise else words
        for first in range(0, len(ids), self.at_once):
            some = ids[first : first + self.at_once]
            stored, leases, aborts = await self._core.scripts.run("read", *some)
            parts = zip(some, stored, leases, aborts, strict=True)
            found += [None if words and self._lacks(*each, words) else self._as_it_is(*each) for each in parts]
        return found

    def _lacks(
        self, job_id: str, stored: bytes | None, lease: bytes | None, abort: bytes | None, words: Sequence[bytes]
    ) -> bool:
        """True when a job lacks one of the words: the reason of an abort, and of data that is no job, are not in it."""
        if abort is not None or not _lacks(stored, words):
            return False
        key, queue = self._core.job_key_from_id(job_id), self._core.saq.name
        return stored is None or wire.is_readable(stored, key, queue)

    async def entries(self, name: str, offset: int, words: Sequence[bytes] = ()) -> Chunk:
        """A chunk of the entries of one of the queue's lists or sets.

        Args:
            name: "leases" or "active", of running jobs; "incomplete", of jobs that wait for their time; LANES, of jobs
                that wait in lanes, in no order; or a list of queued ones.
            offset: of the chunk before; 0: the first.
            words: see `by_id`.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        key, redis = self._core.namespace(name), cast("Any", self._core.redis)
        scores: dict[str, float] = {}
        following: int | None = None
        async with answering(self._core.timings.answer):
            if name == LANES:
                following, found = await redis.hscan(key, offset, count=self.at_once)
                ids = await self._queued_of([decoded(job_id) for job_id in found])
            elif name == "incomplete":
                due = await redis.zrangebyscore(key, "(0", "+inf", offset, self.at_once, withscores=True)
                scores = {decoded(job_id): score for job_id, score in due}
                ids = list(scores)
            else:
                read = redis.zrange if name == "leases" else redis.lrange
                ids = [decoded(job_id) for job_id in await read(key, offset, offset + self.at_once - 1)]
            # Not every entry is a job, see WAKE in `lua/prelude.lua`.
            known = [job_id for job_id in ids if job_id.startswith(self._core.job_id(""))]
            jobs = dict(zip(known, await self.by_id(known, words), strict=True))
        for job_id, score in scores.items():
            if (job := jobs.get(job_id)) is not None:
                # A retry waits until then, regardless of the time in its enqueue.
                job.scheduled = math.ceil(min(score, LAST_SECOND))
        for job in jobs.values():
            if job is not None and job.unreadable and name not in RUNNING:
                job.status = Status.QUEUED
        if name != LANES:
            following = offset + len(ids) if ids else None
        return Chunk([jobs.get(job_id) for job_id in ids], following or None)

    async def _queued_of(self, ids: Sequence[str]) -> list[str]:
        """Those of these jobs that neither run nor wait for their time."""
        if not ids:
            return []
        async with self._core.redis.pipeline(transaction=True) as pipe:
            pipe.zmscore(self._core.namespace("incomplete"), list(ids))
            pipe.hmget(self._core.namespace("owners"), list(ids))
            scores, owners = await pipe.execute()
        return [
            job_id for job_id, score, owner in zip(ids, scores, owners, strict=True) if score == 0 and owner is None
        ]

    def _as_it_is(
        self, job_id: str, stored: bytes | None, lease: bytes | None, abort: bytes | None
    ) -> EngineJob | None:
        if stored is None:
            return None
        try:
            job = self._core.read(self._core.job_key_from_id(job_id), stored)
        except UnreadableJob as error:
            # The same call reads other jobs too.
            logger.warning("%s", error)
            job = stand_in(error.key, self._core.saq, str(error))
        job.looked_up = True
        if lease is None:
            return job
        job.worker_id, job.started = holder(lease.decode())
        job.attempts += 1
        job.status = Status.ACTIVE
        if abort is not None:
            job.status, job.error = Status.ABORTING, decoded(abort)
        return job

    async def counts(self) -> dict[str, int]:
        """Jobs by kind; entries of aborted jobs that are still in a list do not count."""
        async with self._core.redis.pipeline(transaction=True) as pipe:
            pipe.zcard(self._core.namespace("incomplete"))
            pipe.zcount(self._core.namespace("incomplete"), 0, 0)
            pipe.zcard(self._core.namespace("leases"))
            pipe.llen(self._core.namespace("active"))
            incomplete, due, leased, taken = cast("list[int]", await pipe.execute())
        return {"incomplete": incomplete, "active": leased + taken, "queued": max(0, due - leased - taken)}

    async def depths(self) -> dict[str, int]:
        """Entries of the queue's lists by priority: "high", "normal" and "low". Entries of aborted jobs may still be in
        a list, and count.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        async with answering(self._core.timings.answer), self._core.redis.pipeline(transaction=True) as pipe:
            for name in ("queued:high", "queued", "queued:low"):
                pipe.llen(self._core.namespace(name))
            pipe.lindex(self._core.namespace("queued"), 0)
            high, normal, low, first = await pipe.execute()
        # A list that workers wait for may hold a marker that is no job, see WAKE in `lua/prelude.lua`.
        marked = normal > 0 and first is not None and not decoded(first).startswith(self._core.job_id(""))
        return {"high": high, "normal": normal - marked, "low": low}

    async def count(self, kind: CountKind) -> int:
        """Number of jobs of a kind, see `counts`.

        Raises:
            ValueError: the kind is unknown.
        """
        kinds = await self.counts()
        if kind not in kinds:
            raise ValueError(f"unknown kind of jobs {kind!r}; there are {', '.join(kinds)}")
        return kinds[kind]

    async def live_workers(self) -> dict[str, bytes]:
        """The reports of live workers, as JSON by worker; for engine workers by the clock of Redis."""
        answer = cast("list[bytes | None]", await self._core.scripts.run("workers"))
        reports = zip(answer[::2], answer[1::2], strict=True)
        return {decoded(key).rsplit(":", 1)[1]: report for key, report in reports if key and report}

    async def info(self, with_jobs: bool, offset: int, limit: int) -> QueueInfo:
        """SAQ's statistics of the queue, and a page of its jobs, running ones first."""
        jobs_of = await self.counts()
        numbers: QueueInfo = {
            "workers": {worker: worker_info(report) for worker, report in (await self.live_workers()).items()},
            "name": self._core.name,
            "queued": jobs_of["queued"],
            "active": jobs_of["active"],
            "scheduled": jobs_of["incomplete"] - jobs_of["queued"] - jobs_of["active"],
            "jobs": [],
        }
        if not with_jobs:
            return numbers
        last = offset + limit - 1
        async with self._core.redis.pipeline(transaction=False) as pipe:
            pipe.zrange(self._core.namespace("leases"), offset, last)
            pipe.lrange(self._core.namespace("active"), offset, last)
            pipe.zrange(self._core.namespace("incomplete"), offset, last)
            pages = cast("list[list[bytes]]", await pipe.execute())
        ids = dict.fromkeys(decoded(job_id) for page in pages for job_id in page)
        numbers["jobs"] = [job.to_dict() for job in await self.by_id(list(ids)) if job is not None]
        return numbers

    async def listen(self, ids: Sequence[str], callback: ListenCallback, timeout: float | None) -> None:
        """Call the callback with each change of these jobs until it returns true; see `LeasedQueue.listen`."""
        news: News = asyncio.Queue()
        async with AsyncExitStack() as stack:
            for job_id in ids:
                await stack.enter_async_context(self._listener.news(job_id, news))
            while ids:
                async with asyncio.timeout(timeout):
                    job_id, word = await news.get()
                if word == SUBSCRIBED:
                    [job] = await self.by_id([job_id])
                    if job is None or job.status not in TERMINAL_STATUSES:
                        continue
                    word = job.status.value
                answer: Any = callback(self._core.job_key_from_id(job_id), Status(word))
                if await answer if inspect.isawaitable(answer) else answer:
                    return
