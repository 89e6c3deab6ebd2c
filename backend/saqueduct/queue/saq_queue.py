"""LeasedQueue: SAQ's API, on leases.

Subclasses `saq.queue.redis.RedisQueue` of SAQ 0.26 and keeps its API and its keys. Overridden, and why:

- `job`, `jobs`, `iter_jobs`, `count`, `info`: a job that an engine worker runs is known by its lease; SAQ's `info`
  answers nothing with an offset.
- `_finish`, `_retry`, `update`, `abort`: SAQ's search the whole queue, and let a worker that lost its job overwrite
  it. `_update`: SAQ's would let a stock worker run an aborted job whose entry is still in its list.
- `listen`: SAQ's hears of every job of the queue, and may miss what happens before it hears.
- `finish_abort`: SAQ's abort keys lack the queue's name.
- `schedule`: SAQ's moves any number of jobs at once, by the clock of the worker.
- `write_worker_info`: SAQ's counts live workers by their own clocks.
- `sweep`: recovers expired leases too; SAQ's aborts what a stock worker takes in this moment, and goes no further than
  a job that it cannot read. While an engine worker lives, stock workers do not sweep. `dequeue`: skips what was aborted
  while it waited.
- `namespace`, `job_id`, `job_key_from_id`: SAQ's keys of a queue are in many slots of a cluster.
- `disconnect`: SAQ connects to say that it listens no more, which fails when Redis is away, and takes minutes when it
  hangs.
- `serialize`: msgspec's JSON instead of the standard library's.
"""

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from saq import Job
from saq.job import ABORT_ID_PREFIX, TERMINAL_STATUSES, Status
from saq.queue.redis import ID_PREFIX, RedisQueue
from saq.types import CountKind, ListenCallback, QueueInfo, WorkerInfo
from saq.utils import now

from saqueduct.broker.batching import Batches
from saqueduct.broker.connections import lasting, name_in_keys
from saqueduct.broker.keys import KEYS
from saqueduct.broker.listener import JobListener
from saqueduct.broker.loop_guard import LoopGuard
from saqueduct.broker.outage import REDIS_AWAY, Outage
from saqueduct.broker.result_channel import ResultChannel
from saqueduct.broker.scripts import Scripts
from saqueduct.broker.sizes import CERTAINLY_FITS, check_size
from saqueduct.common import clock
from saqueduct.common.text import decoded, storable
from saqueduct.queue import reading
from saqueduct.queue.outcomes import Outcome, settle_each
from saqueduct.queue.recording import Recorder
from saqueduct.queue.recovery import Recovery
from saqueduct.tasks import wire
from saqueduct.tasks.job import EXPIRED, EngineJob, UnreadableJob, decode, encode_storable, has_expired
from saqueduct.tasks.job_changes import updated
from saqueduct.tasks.job_meta import EXPIRES_AT

logger = logging.getLogger("saqueduct")

SECOND_LOOK = 2.0
"""Seconds between two looks for jobs that a stock worker has taken and not marked; it does so within milliseconds."""

TIME_KNOWN = 60.0
"""Seconds after which the clock of Redis is asked again, where that is exact enough."""

PROMOTED_AT_ONCE = 1000
"""Due jobs that one script call moves at most: about a millisecond of the server's time."""


class LeasedQueue(RedisQueue):
    """SAQ's queue, whose jobs engine workers lease.

    Args:
        redis: client; closed by `disconnect`.
        name: the queue's name.
        options: further arguments of SAQ's RedisQueue.
    """

    def __init__(self, redis: Redis, name: str = "default", **options: Any) -> None:
        self._plain_json = options.get("dump") is None
        self._own_load = options.get("load") is not None
        in_keys = name_in_keys(redis, name)
        self._key_prefix, self._id_prefix = f"saq:{in_keys}:", f"{ID_PREFIX}{in_keys}:"
        self.stock_aborts = ABORT_ID_PREFIX if in_keys == name else f"{ABORT_ID_PREFIX}{in_keys}:"
        """Prefix of the abort keys of stock SAQ; in a cluster, which it does not know, that of the engine's own."""
        self.aborts = f"{ABORT_ID_PREFIX}{in_keys}:"
        """Prefix of the engine's abort keys."""
        super().__init__(redis, name, **options)
        self.sweep_locks = self.namespace("sweep"), self.namespace("sweep:engine")
        """Keys of the locks that sweeps take: stock SAQ's, and the engine's own; see `lua/expired.lua`."""
        self.guard: LoopGuard = getattr(redis.connection_pool, "guard", None) or LoopGuard()
        """Knows the event loop that the connections belong to."""
        self.scripts = Scripts(
            redis, [self.namespace(key) for key in KEYS], self._id_prefix, self.stock_aborts, self.guard
        )
        self.outage = Outage(name)
        self.recorder: Recorder | None = None
        """Is told of each job that has ended, or gets another attempt; None: nobody is."""
        self.listener = JobListener(redis, self.guard)
        """News of single jobs, for `JobHandle`."""
        self.result_channel = ResultChannel(redis, self.scripts, self.namespace("inbox:"), self.guard)
        """Outcomes of single jobs, for `JobHandle`."""
        self._reads = Batches(self._read_chunk, reading.CHUNK, check=self.guard.check)
        self.offered: set[tuple[str, str]] = set()
        """Key and lease of the jobs that workers of this process offer to those of others, see `LeaseKeeper`."""
        self._recovery = Recovery(self)
        self._time_known: tuple[float, float] | None = None
        """When the clock of Redis was asked, by the monotonic clock, and what it told."""

    def namespace(self, key: str) -> str:
        """A key of this queue."""
        return self._key_prefix + key

    def job_id(self, job_key: str) -> str:
        """The key in Redis of a job."""
        return self._id_prefix + job_key

    def job_key_from_id(self, job_id: str) -> str:
        """The key of a job, by that in Redis."""
        return job_id[len(self._id_prefix) :]

    def serialize(self, job: Job) -> bytes | str:
        """The job in SAQ's wire format, or as the `dump` of this queue makes it.

        Raises:
            JobTooLarge: Redis would not take it.
        """
        stored: bytes | str
        if self._plain_json:
            try:
                stored = wire.encode(job.__dict__, self.name).decode()
            except UnicodeEncodeError:
                stored = encode_storable(job, self.name).decode()
        else:
            stored = super().serialize(job)
        if len(stored) > CERTAINLY_FITS:
            check_size(job, stored)
        return stored

    def deserialize(
        self, payload: dict[str, Any] | str | bytes | None, status: Status | str | None = None
    ) -> EngineJob | None:
        """The job of SAQ's wire format.

        Raises:
            ValueError: it is none, or belongs to another queue.
        """
        if not payload:
            return None
        job = decode(self._load(payload) if self._own_load and not isinstance(payload, dict) else payload, self)
        if status:
            job.status = Status(status)
        return job

    def read(self, key: str, stored: bytes | str | None) -> EngineJob:
        """The job that is stored under a key.

        Raises:
            UnreadableJob: what is stored there is none; whatever is wrong with it.
        """
        try:
            job = self.deserialize(stored) if self._own_load or not stored else decode(stored, self)
        except Exception as error:
            raise UnreadableJob(key, str(error)) from error
        if job is None or job.key != key:
            raise UnreadableJob(key, "nothing is stored" if job is None else f"it calls itself {job.key}")
        return job

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Job | None:
        """Take the next job as SAQ does: for callers without a lease, such as its HTTP proxy.

        Returns:
            The job, or None after `timeout` seconds (0: wait for ever).
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
                # Aborted while it waited, or no job at all.
                await self.redis.lrem(self._active, 1, cast("str", job_id))
            elif EXPIRES_AT in job.meta and has_expired(job, await self.time()):
                await job.finish(Status.ABORTED, error=EXPIRED)
            else:
                job.looked_up, job.dequeued = False, True
                return job

    async def _finish(self, job: Job, status: Status, *, result: Any = None, error: str | None = None) -> None:
        [(outcome, held)] = await settle_each(self, [(Outcome.finish(self, job), job)])
        if held:
            self.record(job)
        else:
            logger.warning("the job %s was taken over; what this attempt did to it does not count", outcome.key)

    async def _retry(self, job: Job, error: str | None) -> None:
        await settle_each(self, [(Outcome.retry(self, job, job.next_retry_delay()), job)])

    async def stock_worker_has(self, job: Job) -> bool:
        """True when a stock worker has taken the job."""
        return await self.redis.lpos(self._active, job.id) is not None

    async def give_up(self, job: Job) -> None:
        """A stock worker is to let go of a job that was taken from it: if it was to be aborted, it has been."""
        stored = await self.job(job.key)
        if stored is not None and stored.status is Status.ABORTING and not stored.started:
            await self.finish_abort(stored)
        else:
            logger.warning("the job %s was taken over; what this attempt did to it does not count", job.key)

    async def update(self, job: Job, **kwargs: Any) -> None:
        """Store what a job tells of itself (`progress`, `meta`, ...); of a running one, if its lease still holds.

        Raises:
            ValueError: an unknown field, a wrong value, or a field that the engine alone changes; nothing is stored.
        """
        lease = getattr(job, "lease", "")
        kwargs = updated(job, kwargs)
        if not lease:
            await super().update(job, **kwargs)
            return
        job.touched = now()
        for name, value in kwargs.items():
            setattr(job, name, value)
        # As jobs stand that nothing was written of since their start: that this one runs is read from its lease.
        stored = copy(job)
        stored.attempts, stored.status = job.attempts - 1, Status.QUEUED
        payload = self.serialize(stored)
        while True:
            try:
                await self.scripts.run("update", job.key, lease, payload, job.status.value)
                return
            except REDIS_AWAY as error:
                # The job goes on when Redis is back, or runs into its timeout.
                await self.outage.pause(error)

    async def _update(self, job: Job, status: Status | None = None, **kwargs: Any) -> None:
        if not status:
            stored = await self.job(job.key)
            status = stored.status if stored else job.status
        # SAQ's HTTP proxy hands it over as text.
        job.status = Status(status)
        await self.scripts.run("update", job.key, "", self.serialize(job), job.status.value)

    async def abort(self, job: Job, error: str, ttl: float = 5) -> None:
        """Abort a job: one that waits ends at once, one that runs when its worker notices.

        Args:
            job: the job.
            error: why; becomes the job's error.
            ttl: seconds in which no job of its key is enqueued, when a stock worker runs it.
        """
        error = storable(error)
        # As it is now: it may have had attempts, or another round, since the caller looked.
        present = await self.job(job.key) or job
        aborting, aborted = self.copy(present), self.copy(present)
        aborting.status, aborting.error = Status.ABORTING, error
        aborted.status, aborted.error, aborted.completed = Status.ABORTED, error, now()
        end = Outcome.finish(self, aborted).how
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
            self.record(aborted)
        elif became != b"ended":
            job.status, job.error = Status.ABORTING, error

    def record(self, job: Job) -> None:
        """Let what became of a job be remembered; what it may hold besides keeps no other from being settled."""
        if self.recorder is not None:
            try:
                self.recorder.add(job)
            except Exception:
                logger.exception("what became of the job %s cannot be recorded", job.key)

    async def listen(
        self,
        job_keys: Iterable[str],
        callback: ListenCallback,
        timeout: float | None = 10,
        poll_interval: float = 0.5,
    ) -> None:
        """Call back with key and status whenever a job changes, until the callback answers true.

        A job that has ended already is told too, so that nobody waits for what has happened.

        Raises:
            TimeoutError: nothing happened for `timeout` seconds (None or 0: wait for ever).
        """
        await reading.listen(self, [self.job_id(key) for key in job_keys], callback, timeout or None)

    async def finish_abort(self, job: Job) -> None:
        """A worker has ended the job that was to be aborted."""
        await self.redis.delete(self.stock_aborts + job.key, self.aborts + job.key)
        await job.finish(Status.ABORTED, error=job.error)

    async def schedule(self, lock: int = 1) -> list[str]:
        """Let jobs wait in line whose time has come; returns their ids, at most PROMOTED_AT_ONCE."""
        promoted = await self.scripts.run("promote", PROMOTED_AT_ONCE)
        return [decoded(job_id) for job_id in cast("list[bytes]", promoted)]

    async def time(self) -> float:
        """Epoch seconds by the clock of Redis, which decides what is due; see `scripts/prelude.lua`."""
        return float(await self.scripts.run("time"))

    async def time_about(self) -> float:
        """As `time`, but asked every TIME_KNOWN seconds at most: between, the monotonic clock says what has passed."""
        current = time.monotonic()
        if self._time_known is None or current - self._time_known[0] > TIME_KNOWN:
            self._time_known = current, await self.time() - clock.offset()
        asked, told = self._time_known
        return told + current - asked + clock.offset()

    async def sweep(self, lock: int = 60, abort: float = 5.0) -> list[str]:
        """Recover the jobs of expired leases, and end what stock workers left behind, as SAQ does."""
        try:
            recovered = await self._recovery.sweep()
            return recovered + [await self._sweep_one(*each, abort) for each in await self._left_by_stock_workers(lock)]
        except REDIS_AWAY:
            return []

    async def _left_by_stock_workers(self, lock: int) -> list[tuple[str, EngineJob | None]]:
        """Ids and jobs that stock workers have taken and not ended: stuck ones, and some that are gone, as None.

        A stock worker takes a job and marks it as active a moment later: what is not marked is looked at twice.
        """
        if not await self.redis.set(self.sweep_locks[1], 1, ex=max(1, lock), nx=True):
            return []
        found = await self._taken_by_stock_workers()
        unmarked = {job_id for job_id, (_, job) in found.items() if job is None or job.status != Status.ACTIVE}
        if unmarked:
            await asyncio.sleep(SECOND_LOOK)
            again = await self._taken_by_stock_workers()
            moved = {job_id for job_id in unmarked if job_id not in again or again[job_id][0] != found[job_id][0]}
            unmarked -= moved
            found = {job_id: each for job_id, each in found.items() if job_id not in moved}
        return [(job_id, job) for job_id, (_, job) in found.items() if job_id in unmarked or (job and job.stuck)]

    async def _taken_by_stock_workers(self) -> dict[str, tuple[Any, EngineJob | None]]:
        """The jobs that stock workers have, by id: what is stored, and the job; without those that cannot be read."""
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
        """Let a job that a stock worker has left run again, or end, as SAQ does; one that is gone is forgotten."""
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
        """The job of that key as it stands, or None."""
        return await self._get_job_by_id(self.job_id(job_key))

    async def jobs(self, job_keys: Iterable[str]) -> list[Job | None]:
        """The jobs of those keys as they stand, None for those there are not."""
        found = await reading.jobs(self, [self.job_id(key) for key in job_keys])
        return [None if job is not None and job.unreadable else job for job in found]

    async def _get_job_by_id(self, job_id: bytes | str) -> EngineJob | None:
        job = await self._shown(decoded(job_id) if isinstance(job_id, bytes) else job_id)
        return None if job is not None and job.unreadable else job

    async def _shown(self, job_id: str) -> EngineJob | None:
        """The job, or what is shown in place of one that cannot be read."""
        return await self._reads.add(job_id)

    async def _read_chunk(self, ids: Sequence[str]) -> list[EngineJob | None]:
        # The answers of one batch may go to several callers, who must not share a job.
        return await reading.jobs(self, ids)

    async def count(self, kind: CountKind) -> int:
        """Jobs of a kind: "queued" (waiting in line), "active", "incomplete" (delayed ones too)."""
        return await reading.count(self, kind)

    async def info(self, jobs: bool = False, offset: int = 0, limit: int = 10) -> QueueInfo:
        """The queue in numbers, its live workers, and with `jobs` a page of its incomplete jobs."""
        return await reading.info(self, jobs, offset, limit)

    async def write_worker_info(self, worker_id: str, info: WorkerInfo, ttl: int) -> None:
        """Note a worker's report; it counts for `ttl` seconds by the clock of Redis."""
        await self.scripts.run("report", self.namespace(f"worker_info:{worker_id}"), msgspec.json.encode(info), ttl)

    async def connect(self) -> None:
        """Belong to the running event loop from now on.

        Raises:
            OtherEventLoop: another one has connected it, and not disconnected.
        """
        self.guard.check()
        await super().connect()

    async def disconnect(self) -> None:
        """Close all connections, whether Redis answers or not."""
        await self.result_channel.close()
        await self.listener.close()
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()
        self.guard.release()

    def __repr__(self) -> str:
        # SAQ's shows the client, and with it the server's address.
        return f"EngineQueue<{self.name}>"
