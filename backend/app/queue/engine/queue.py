"""EngineQueue: SAQ's Redis queue, with validated calls and an outage behaviour.

Subclasses `saq.queue.redis.RedisQueue` of SAQ 0.26. Overridden, and why:

- `enqueue`: SAQ takes a keyword named like a Job field for a job option and validates nothing.
- `dequeue`: with Redis away SAQ's worker spins at full speed; and a worker told to stop still takes jobs.
- `sweep`: SAQ's loses jobs; see `recovery.py`.
- `_update`, `_finish`, `_retry`: one failed write makes SAQ run the whole job again, or lose it; here the write is
  repeated until Redis is back. Each removes what it adds, so a second time changes nothing.
- `retry`: a job that a stopping worker hands back has not failed and must not lose an attempt.
- `disconnect`: SAQ says goodbye to Redis first, and fails to close its connections when Redis is away.
- `serialize`, `deserialize` (through `dump` and `load`): msgspec's JSON instead of the standard library's.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError
from redis.exceptions import TimeoutError as RedisTimeoutError
from saq import Job
from saq.job import Status
from saq.queue.redis import RedisQueue
from saq.utils import now

from app.queue.engine.listener import JobListener
from app.queue.engine.recovery import Recovery
from app.queue.errors import QueueUnavailable
from app.queue.handle import EXPIRED
from app.queue.options import EXPIRES_AT
from app.queue.payload import MAX_PAYLOAD_BYTES

if TYPE_CHECKING:
    from app.queue.task import Task

logger = logging.getLogger("app.queue")

REDIS_AWAY = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, OSError)
"""What redis-py raises when the server is away, does not answer, or is full."""

ANSWER_TIMEOUT = 5.0
"""Seconds that a call of a producer takes at most: redis-py's own limits add up, for handshake, command and retries."""

MAX_OUTAGE_PAUSE = 5.0
"""Seconds between two tries of a worker slot while Redis is away, at most."""

HANDED_BACK = "cancelled"
"""The error text with which SAQ's worker retries a job that it cancels at shutdown (saq/worker.py)."""


MANY_CHUNK = 500
"""Jobs enqueued by one script call: about a millisecond of the server's time."""

_ENQUEUE_MANY = """
local enqueued = {}
for i = 1, #ARGV / 2 do
    local id, abort_id, job, scheduled = KEYS[2 * i + 1], KEYS[2 * i + 2], ARGV[2 * i - 1], ARGV[2 * i]
    if redis.call('ZSCORE', KEYS[1], id) or redis.call('EXISTS', abort_id) == 1 then
        enqueued[i] = 0
    else
        redis.call('SET', id, job)
        redis.call('ZADD', KEYS[1], scheduled, id)
        if scheduled == '0' then redis.call('RPUSH', KEYS[2], id) end
        enqueued[i] = 1
    end
end
return enqueued
"""
# The rule of SAQ's own enqueue script, for many jobs.


class TaskCatalogue(Protocol):
    """Where a queue looks tasks up; `TaskRegistry` is one."""

    def get(self, name: str) -> "Task[..., Any]": ...


class EngineQueue(RedisQueue):
    """A named queue in Redis.

    Args:
        redis: client; closed by `disconnect`.
        name: the queue's name.
        tasks: tasks that calls are validated by; None: any name and any arguments go, as in SAQ.
        max_payload_bytes: largest encoded arguments, and largest encoded result, of one job.
        options: further arguments of SAQ's RedisQueue.
    """

    def __init__(
        self,
        redis: Redis,
        name: str = "default",
        *,
        tasks: TaskCatalogue | None = None,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        **options: Any,
    ) -> None:
        options.setdefault("dump", msgspec.json.encode)
        options.setdefault("load", msgspec.json.decode)
        super().__init__(redis, name, **options)
        self.tasks = tasks
        self.max_payload_bytes = max_payload_bytes
        self.closing = False
        """True once this process has stopped to take jobs from the queue."""
        self.waits_for_redis = False
        """True in a worker: an outcome is written as soon as Redis is back. Elsewhere an outage is told at once."""
        self._failures = 0
        self._recovery = Recovery(self)
        self._enqueue_many = redis.register_script(_ENQUEUE_MANY)
        self.listener = JobListener(redis)
        """News of single jobs, for `JobHandle`."""

    async def enqueue(self, job_or_func: str | Job, /, **kwargs: Any) -> Job | None:  # type: ignore[override]
        """Validate and enqueue a job, by task name or as a Job.

        A keyword that the task's function declares is an argument, also when SAQ's Job has a field of that name;
        other keywords that name a field (`key`, `timeout`, `scheduled`, ...) are options of the job.

            await queue.enqueue("send_email", to="ada@example.com", subject="Hi", body="...", key="hello-ada")

        Returns:
            The job, or None when a job of that key is waiting or running already.

        Raises:
            UnknownTask, InvalidArguments, PayloadTooLarge: nothing is enqueued.
            QueueUnavailable: Redis did not answer; the job may or may not stand in the queue.
        """
        job = self._validated(job_or_func, kwargs)
        async with answering():
            if isinstance(job, Job):
                return await super().enqueue(job)
            return await super().enqueue(job, **kwargs)

    async def enqueue_many(self, jobs: Sequence[Job]) -> list[bool]:
        """Enqueue jobs whose arguments are validated already, MANY_CHUNK in one round trip.

        Returns:
            For each job whether it was enqueued; False: a job of its key is waiting or running already.

        Raises:
            PayloadTooLarge: one has too large arguments; nothing is enqueued.
            QueueUnavailable: Redis did not answer; a part may have been enqueued.
        """
        current = now()
        for job in jobs:
            # A job that is queued once more keeps its time: tasks tell by it that it is the same.
            job.queue, job.queued, job.status = self, job.queued or current, Status.QUEUED
            await self._before_enqueue(job)
        enqueued: list[bool] = []
        for start in range(0, len(jobs), MANY_CHUNK):
            chunk = jobs[start : start + MANY_CHUNK]
            keys = [self._incomplete, self._queued, *(key for job in chunk for key in (job.id, job.abort_id))]
            args = [arg for job in chunk for arg in (self.serialize(job), job.scheduled)]
            async with answering():
                enqueued += [bool(answer) for answer in await self._enqueue_many(keys=keys, args=args)]
        return enqueued

    def _validated(self, job_or_func: str | Job, kwargs: dict[str, Any]) -> str | Job:
        if self.tasks is None:
            return job_or_func if isinstance(job_or_func, str) else _with_fields(job_or_func, kwargs)
        if isinstance(job_or_func, Job):
            job = _with_fields(job_or_func, kwargs)
            task = self.tasks.get(job.function)
            job.kwargs = task.signature.encode(job.kwargs or {}, self.max_payload_bytes)
            return job
        task = self.tasks.get(job_or_func)
        arguments, fields = task.split(kwargs)
        return task.job(arguments, limit=self.max_payload_bytes, **fields)

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Job | None:
        """Take the next job, or None after `timeout` seconds, while Redis is away, or when closing."""
        try:
            job = await super().dequeue(timeout, poll_interval)
        except REDIS_AWAY as error:
            await self._pause(error)
            return None
        if self._failures:
            logger.info("queue %s: Redis is back", self.name)
            self._failures = 0
        if job is not None and self.closing:
            await self._put_back(job)
            return None
        if job is not None and time.time() > job.meta.get(EXPIRES_AT, math.inf):
            await job.finish(Status.ABORTED, error=EXPIRED)
            return None
        return job

    async def _update(self, job: Job, status: Status | None = None, **kwargs: Any) -> None:
        await self._until_written(lambda: RedisQueue._update(self, job, status, **kwargs))

    async def _finish(self, job: Job, status: Status, *, result: Any = None, error: str | None = None) -> None:
        await self._until_written(lambda: RedisQueue._finish(self, job, status, result=result, error=error))

    async def _retry(self, job: Job, error: str | None) -> None:
        await self._until_written(lambda: RedisQueue._retry(self, job, error))

    @property
    def away(self) -> bool:
        """True while Redis does not answer this process's worker."""
        return self._failures > 0

    async def _until_written(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write, again and again while Redis is away; a queue that is closing tries once."""
        while True:
            try:
                return await write()
            except REDIS_AWAY as error:
                if self.closing or not self.waits_for_redis:
                    raise
                await self._pause(error)

    async def _pause(self, error: Exception) -> None:
        """Wait before the next try, longer each time up to MAX_OUTAGE_PAUSE, with jitter."""
        if not self._failures:
            logger.warning("queue %s: Redis is away, trying again: %s", self.name, error)
        self._failures += 1
        longest = min(MAX_OUTAGE_PAUSE, 0.2 * 2 ** min(self._failures, 8))
        pause = longest * (0.5 + random.random() / 2)  # noqa: S311  (spread, not secrecy)
        waited = 0.0
        while waited < pause and not self.closing:
            await asyncio.sleep(min(0.2, pause - waited))
            waited += 0.2

    async def _put_back(self, job: Job) -> None:
        """Return a job that came after the stop to the front of the queue, untouched."""
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.lrem(self._active, 1, job.id)
            pipe.lpush(self._queued, job.id)
            await pipe.execute()

    async def sweep(self, lock: int = 60, abort: float = 5.0) -> list[str]:
        """Recover what dead workers left behind and end what is past its time; one process in `lock` seconds.

        Returns:
            Ids of the jobs that were put back or ended.
        """
        try:
            if not await self.redis.set(self._sweep, 1, nx=True, ex=lock):
                return []
            return await self._recovery.sweep(abort)
        except REDIS_AWAY:
            return []

    async def retry(self, job: Job, error: str | None) -> None:
        """Queue a job for another attempt; one handed back by a stopping worker keeps its attempts."""
        if error == HANDED_BACK and job.attempts:
            job.attempts -= 1
        await super().retry(job, error)

    async def fetch(self, key: str) -> Job | None:
        """The job of that key, or None.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        async with answering():
            return await self.job(key)

    async def disconnect(self) -> None:
        """Close all connections, whether Redis answers or not."""
        await self.listener.close()
        try:
            await super().disconnect()
        except REDIS_AWAY:
            await self.redis.aclose()

    def __repr__(self) -> str:
        # SAQ's shows the client, and with it the server's address.
        return f"EngineQueue<{self.name}>"

    async def ping(self) -> None:
        """Ask Redis for an answer.

        Raises:
            QueueUnavailable: there is none.
        """
        async with answering():
            await self.redis.ping()

    async def forget_worker(self, worker_id: str) -> None:
        """Take a worker that has stopped out of the live ones at once."""
        key = self.namespace(f"worker_info:{worker_id}")
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            pipe.zrem(self._stats, key)
            await pipe.execute()

    async def live_workers(self) -> int:
        """Workers of this queue that have reported within their time to live."""
        return int(await self.redis.zcount(self._stats, now(), "inf"))


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """For a block that asks Redis: an answer within ANSWER_TIMEOUT, or QueueUnavailable."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            yield
    except REDIS_AWAY as error:
        raise QueueUnavailable(str(error) or type(error).__name__) from error


def _with_fields(job: Job, fields: dict[str, Any]) -> Job:
    for name, value in fields.items():
        setattr(job, name, value)
    return job
