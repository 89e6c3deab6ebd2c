"""LeasedQueue: SAQ's API, implemented with leases.

Subclasses `saq.queue.redis.RedisQueue` of SAQ 0.26 and keeps its API and its keys. Overridden, and why:

- `job`, `jobs`, `iter_jobs`, `count`, `info`: the lease shows that an engine worker runs a job; SAQ's `info` returns
  nothing with an offset.
- `_finish`, `_retry`, `update`, `abort`: SAQ's methods search the whole queue, and let a worker that lost its job
  overwrite it. `_update`: SAQ's method would let a stock worker run an aborted job whose entry is still in its list.
- `listen`: SAQ's method receives events of every job of the queue, and may miss events before it has subscribed.
- `finish_abort`: SAQ's abort keys lack the queue's name.
- `schedule`: SAQ's method moves any number of jobs in one step, by the clock of the worker.
- `write_worker_info`: SAQ's method counts live workers by their own clocks.
- `sweep`: also recovers expired leases; SAQ's aborts a job that a stock worker is just taking, and stops at a job that
  it cannot read. While an engine worker lives, stock workers do not sweep. `dequeue`: skips jobs that were aborted
  while they waited.
- `namespace`, `job_id`, `job_key_from_id`: SAQ's keys of a queue are in many slots of a cluster.
- `disconnect`: SAQ connects in order to unsubscribe, which fails when Redis is down, and takes minutes when it hangs.
- `serialize`: msgspec's JSON instead of the standard library's.
"""

import asyncio
import logging
import math
from collections.abc import Iterable
from contextlib import suppress
from copy import copy
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from saq import Job
from saq.job import TERMINAL_STATUSES, Status
from saq.queue.redis import RedisQueue
from saq.types import CountKind, ListenCallback, QueueInfo, WorkerInfo
from saq.utils import now

from saqueduct.broker.connections import lasting
from saqueduct.broker.listener import JobListener
from saqueduct.broker.outage import REDIS_AWAY
from saqueduct.broker.result_channel import ResultChannel
from saqueduct.common.text import decoded, storable
from saqueduct.queue.core import QueueCore
from saqueduct.queue.outcomes import Outcome, Settler
from saqueduct.queue.reading import Reader
from saqueduct.queue.recording import Recorder
from saqueduct.queue.recovery import Recovery
from saqueduct.sizes import Sizes
from saqueduct.tasks.job import EXPIRED, EngineJob, UnreadableJob, has_expired, own_fields
from saqueduct.tasks.job_changes import updated
from saqueduct.tasks.job_meta import EXPIRES_AT
from saqueduct.timings import Timings

logger = logging.getLogger("saqueduct")

PROMOTED_AT_ONCE = 1000
"""Maximum due jobs that one script call moves: about a millisecond of server time."""


class LeasedQueue(RedisQueue):
    """SAQ's queue, whose jobs engine workers lease.

    Args:
        redis: the Redis client; `disconnect` closes it.
        name: the queue's name.
        timings: intervals, waits and limits.
        sizes: how large a job may be.
        options: further arguments of SAQ's RedisQueue.
    """

    def __init__(
        self,
        redis: Redis,
        name: str = "default",
        *,
        timings: Timings | None = None,
        sizes: Sizes | None = None,
        **options: Any,
    ) -> None:
        # Set first: SAQ's constructor reads keys.
        self.core = QueueCore(
            self, redis, name, timings or Timings(), sizes or Sizes(), options.get("dump"), options.get("load")
        )
        super().__init__(redis, name, **options)
        self.scripts = self.core.scripts
        self.guard = self.core.guard
        self.outage = self.core.outage
        self.listener = JobListener(redis, self.guard, self.core.timings)
        """News of single jobs, for `JobHandle`."""
        self.result_channel = ResultChannel(
            redis, self.scripts, self.namespace("inbox:"), self.guard, self.core.timings
        )
        """Outcomes of single jobs, for `JobHandle`."""
        self.reader = Reader(self.core, self.listener)
        self.settler = Settler(self.core)
        self._recovery = Recovery(self.core, self.settler)

    @property
    def recorder(self) -> Recorder | None:
        """Called with each job that ends or gets another attempt; None: there is no PostgreSQL."""
        return self.core.recorder

    @recorder.setter
    def recorder(self, recorder: Recorder | None) -> None:
        self.core.recorder = recorder

    def namespace(self, key: str) -> str:
        """A key of this queue."""
        return self.core.namespace(key)

    def job_id(self, job_key: str) -> str:
        """The Redis key of a job."""
        return self.core.job_id(job_key)

    def job_key_from_id(self, job_id: str) -> str:
        """The key of a job, from its Redis key."""
        return self.core.job_key_from_id(job_id)

    def serialize(self, job: Job) -> bytes | str:
        """See `QueueCore.serialize`."""
        return self.core.serialize(job)

    def deserialize(
        self, payload: dict[str, Any] | str | bytes | None, status: Status | str | None = None
    ) -> EngineJob | None:
        """See `QueueCore.deserialize`."""
        return self.core.deserialize(payload, status)

    def read(self, key: str, stored: bytes | str | None) -> EngineJob:
        """See `QueueCore.read`."""
        return self.core.read(key, stored)

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Job | None:
        """Take the next job in SAQ's way: for callers without a lease, such as SAQ's HTTP proxy.

        Returns:
            The job, or None after `timeout` seconds (0: no limit).
        """
        end = math.inf if timeout <= 0 else asyncio.get_running_loop().time() + timeout
        while True:
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return None
            wait = cast("int", 0 if end == math.inf else left)
            job_id = await lasting(self.redis).blmove(self._queued, self._active, wait, "LEFT", "RIGHT")
            if job_id is None:
                return None
            job = await self._get_job_by_id(job_id)
            if job is None or job.status in TERMINAL_STATUSES:
                # The job was aborted while it waited, or the entry is not a job.
                await self.redis.lrem(self._active, 1, cast("str", job_id))
            elif EXPIRES_AT in job.meta and has_expired(job, await self.core.time()):
                await job.finish(Status.ABORTED, error=EXPIRED)
            else:
                job.looked_up, job.dequeued = False, True
                return job

    async def _finish(self, job: Job, status: Status, *, result: Any = None, error: str | None = None) -> None:
        [(outcome, held)] = await self.settler.settle_each([(Outcome.finish(self.core, job), job)])
        if held:
            self.core.note_end(job)
        else:
            logger.warning("the lease of the job %s was lost, the outcome of this attempt is discarded", outcome.key)

    async def _retry(self, job: Job, error: str | None) -> None:
        await self.settler.settle_each([(Outcome.retry(self.core, job, job.next_retry_delay()), job)])

    async def stock_worker_has(self, job: Job) -> bool:
        """True if a stock worker has taken the job."""
        return await self.redis.lpos(self._active, job.id) is not None

    async def give_up(self, job: Job) -> None:
        """Make a stock worker release a job that was taken from it; a requested abort has then been carried out."""
        stored = await self.job(job.key)
        if stored is not None and stored.status is Status.ABORTING and not stored.started:
            await self.finish_abort(stored)
        else:
            logger.warning("the lease of the job %s was lost, the outcome of this attempt is discarded", job.key)

    async def update(self, job: Job, **kwargs: Any) -> None:
        """Store updates of a job (`progress`, `meta`, ...); for a running job only if its lease still holds.

        Raises:
            ValueError: an unknown field, a wrong value, or a field that only the engine changes; nothing is stored.
        """
        lease = own_fields(job).lease
        kwargs = updated(job, kwargs)
        if not lease:
            await super().update(job, **kwargs)
            return
        job.touched = now()
        for name, value in kwargs.items():
            setattr(job, name, value)
        # The stored status of a started job does not change: its lease shows that it runs.
        stored = copy(job)
        stored.attempts, stored.status = job.attempts - 1, Status.QUEUED
        payload = self.serialize(stored)
        while True:
            try:
                await self.scripts.run("update", job.key, lease, payload, job.status.value)
                return
            except REDIS_AWAY as error:
                # The job continues when Redis is back, or reaches its timeout.
                await self.outage.pause(error)

    async def _update(self, job: Job, status: Status | None = None, **kwargs: Any) -> None:
        if not status:
            stored = await self.job(job.key)
            status = stored.status if stored else job.status
        # SAQ's HTTP proxy passes it as text.
        job.status = Status(status)
        await self.scripts.run("update", job.key, "", self.serialize(job), job.status.value)

    async def abort(self, job: Job, error: str, ttl: float = 5) -> None:
        """Abort a job: a waiting one ends immediately, a running one when its worker notices.

        Args:
            job: the job.
            error: the reason; becomes the job's error.
            ttl: seconds during which no job with its key can be enqueued, if a stock worker runs it.
        """
        error = storable(error)
        # Read it again: it may have had attempts, or a manual retry, since the caller read it.
        present = await self.job(job.key) or job
        aborting, aborted = self.copy(present), self.copy(present)
        aborting.status, aborting.error = Status.ABORTING, error
        aborted.status, aborted.error, aborted.completed = Status.ABORTED, error, now()
        end = Outcome.finish(self.core, aborted).how
        became = await self.scripts.run(
            "abort",
            job.key,
            error,
            self.serialize(aborting),
            self.serialize(aborted),
            aborted.ttl,
            job.abort_id,
            max(1, int(ttl)),
            end.claim,
            end.mark,
        )
        if became == b"withdrawn":
            job.status, job.error, job.completed = Status.ABORTED, error, aborted.completed
            self.aborted += 1
            self.core.note_end(aborted)
        elif became != b"ended":
            job.status, job.error = Status.ABORTING, error

    async def listen(
        self,
        job_keys: Iterable[str],
        callback: ListenCallback,
        timeout: float | None = 10,
        poll_interval: float = 0.5,
    ) -> None:
        """Call the callback with key and status each time a job changes, until it returns true.

        A job that has already ended is reported too, so that no caller waits for a past event.

        Raises:
            TimeoutError: nothing happened for `timeout` seconds (None or 0: no limit).
        """
        await self.reader.listen([self.job_id(key) for key in job_keys], callback, timeout or None)

    async def finish_abort(self, job: Job) -> None:
        """Note that a worker has ended a job whose abort was requested."""
        await self.redis.delete(self.core.stock_aborts + job.key, self.core.aborts + job.key)
        await job.finish(Status.ABORTED, error=job.error)

    async def schedule(self, lock: int = 1) -> list[str]:
        """Move jobs that are due to their lists; returns their ids, at most PROMOTED_AT_ONCE."""
        promoted = await self.scripts.run("promote", PROMOTED_AT_ONCE)
        return [decoded(job_id) for job_id in cast("list[bytes]", promoted)]

    async def time(self) -> float:
        """Epoch seconds by the clock of Redis; see `QueueCore.time`."""
        return await self.core.time()

    async def sweep(self, lock: int = 60, abort: float = 5.0) -> list[str]:
        """Recover the jobs of expired leases, and end jobs that stock workers left behind, as SAQ does."""
        try:
            recovered = await self._recovery.sweep()
            return recovered + [await self._sweep_one(*each, abort) for each in await self._left_by_stock_workers(lock)]
        except REDIS_AWAY:
            return []

    async def _left_by_stock_workers(self, lock: int) -> list[tuple[str, EngineJob | None]]:
        """Ids and jobs that stock workers have taken and not ended: stuck ones, and missing ones as None.

        A stock worker takes a job and marks it as active a moment later: unmarked jobs are checked twice.
        """
        if not await self.redis.set(self.core.sweep_locks[1], 1, ex=max(1, lock), nx=True):
            return []
        found = await self._taken_by_stock_workers()
        unmarked = {job_id for job_id, (_, job) in found.items() if job is None or job.status != Status.ACTIVE}
        if unmarked:
            await asyncio.sleep(self.core.timings.second_look)
            again = await self._taken_by_stock_workers()
            moved = {job_id for job_id in unmarked if job_id not in again or again[job_id][0] != found[job_id][0]}
            unmarked -= moved
            found = {job_id: each for job_id, each in found.items() if job_id not in moved}
        return [(job_id, job) for job_id, (_, job) in found.items() if job_id in unmarked or (job and job.stuck)]

    async def _taken_by_stock_workers(self) -> dict[str, tuple[Any, EngineJob | None]]:
        """The jobs that stock workers have, by id: the stored data and the job; without those that cannot be read."""
        ids = await cast("Any", self.redis.lrange(self._active, 0, -1))
        found: dict[str, tuple[Any, EngineJob | None]] = {}
        for job_id, stored in zip(ids, await self.redis.mget(ids) if ids else [], strict=True):
            try:
                job = self.read(self.job_key_from_id(job_id.decode()), stored) if stored else None
            except UnreadableJob as error:
                logger.warning("%s", error)
            else:
                found[job_id.decode()] = stored, job
        return found

    async def _sweep_one(self, job_id: str, job: EngineJob | None, abort: float) -> str:
        """Queue again or end a job that a stock worker has left, as SAQ does; the entry of a missing job is removed."""
        if job is None:
            await self.scripts.run("dangling", job_id)
            return job_id
        await self.abort(job, error=self.swept_error_message)
        with suppress(TimeoutError):
            await job.refresh(abort)
        if job.retryable:
            await super().retry(job, error=self.swept_error_message)
        else:
            await self.finish(job, Status.ABORTED, error=self.swept_error_message)
        return job_id

    async def recover(self) -> list[str]:
        """Recover the jobs of expired leases; returns their ids."""
        return await self._recovery.sweep()

    async def job(self, job_key: str) -> EngineJob | None:
        """The current state of the job of that key, or None."""
        return await self.reader.job(job_key)

    async def jobs(self, job_keys: Iterable[str]) -> list[Job | None]:
        """The current state of the jobs of those keys, None for missing ones."""
        found = await self.reader.by_id([self.job_id(key) for key in job_keys])
        return [None if job is not None and job.unreadable else job for job in found]

    async def _get_job_by_id(self, job_id: bytes | str) -> EngineJob | None:
        return await self.reader.job(self.job_key_from_id(decoded(job_id) if isinstance(job_id, bytes) else job_id))

    async def count(self, kind: CountKind) -> int:
        """Number of jobs of a kind: "queued" (waiting in a list), "active", "incomplete" (including delayed ones)."""
        return await self.reader.count(kind)

    async def info(self, jobs: bool = False, offset: int = 0, limit: int = 10) -> QueueInfo:
        """Statistics of the queue, its live workers, and with `jobs` a page of its incomplete jobs."""
        return await self.reader.info(jobs, offset, limit)

    async def write_worker_info(self, worker_id: str, info: WorkerInfo, ttl: int) -> None:
        """Store a worker's report; it is valid for `ttl` seconds by the clock of Redis."""
        await self.scripts.run("report", self.namespace(f"worker_info:{worker_id}"), msgspec.json.encode(info), ttl)

    async def connect(self) -> None:
        """Bind to the running event loop.

        Raises:
            OtherEventLoop: it is still connected in another event loop.
        """
        self.guard.check()
        await super().connect()

    async def disconnect(self) -> None:
        """Close all connections, even if Redis does not answer."""
        await self.core.give_backs.close()
        await self.result_channel.close()
        await self.listener.close()
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()
        self.guard.release()

    def __repr__(self) -> str:
        # SAQ's repr shows the client, and with it the server's address.
        return f"EngineQueue<{self.name}>"
