"""JobHandle: what an enqueue returns to follow a job."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Generic, TypeVar

from saq import Job
from saq.job import TERMINAL_STATUSES, Status

from saqueduct.broker.listener import SUBSCRIBED
from saqueduct.errors import JobAborted, JobConflict, JobExpired, JobFailed, JobNotFound, ResultTimeout
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.tasks.job import EXPIRED, Enqueued
from saqueduct.tasks.job_meta import DEBOUNCE, REPLACED_BY
from saqueduct.tasks.queues import TaskQueue

R = TypeVar("R")

CALLS = 3
"""Place of the number of calls in `DEBOUNCE`."""


@dataclasses.dataclass(frozen=True, slots=True)
class JobUpdate:
    """One update of a job: its status, and its progress from 0.0 to 1.0."""

    status: Status
    progress: float


class JobHandle(Generic[R]):
    """A job and its future result.

        job = await send_email.enqueue(to="ada@example.com", subject="Hi", body="...")
        outcome = await job.result(timeout=10)

    Args:
        queue: the queue the job is in.
        key: the job's key.
        convert: converts a stored result to the declared type.
        snapshot: the job as last read.
        created: False if an older job already existed and no new one was enqueued.
        published: for a job in a caller's transaction: becomes True after the commit, False after a rollback.
        existing: see `Enqueued`.
    """

    def __init__(
        self,
        queue: TaskQueue,
        key: str,
        convert: Callable[[Any], R],
        snapshot: Job | None = None,
        *,
        created: bool = True,
        published: "asyncio.Future[bool] | None" = None,
        existing: Mapping[str, str] | None = None,
    ) -> None:
        self._queue = queue
        self._convert = convert
        self._snapshot = snapshot
        self.key = key
        self.created = created
        self._published = published
        self._existing = existing

    @property
    def id(self) -> str:
        """The job's id: its key with queue and prefix, as used in Redis."""
        return self._queue.job_id(self.key)

    @property
    def job(self) -> Job | None:
        """SAQ's job as last read."""
        return self._snapshot

    @property
    def progress(self) -> float:
        """Progress from 0.0 to 1.0 as last read; see `refresh`."""
        return self._snapshot.progress if self._snapshot else 0.0

    @property
    def calls(self) -> int:
        """How many calls the job is for, as last read: more than 1 if its task is debounced; see `refresh`."""
        window: list[float] = self._snapshot.meta.get(DEBOUNCE, []) if self._snapshot else []
        return int(window[CALLS]) if len(window) > CALLS else 1

    def __repr__(self) -> str:
        return f"<JobHandle {self.id}>"

    async def refresh(self) -> Job:
        """Read the job again; a job in an open transaction has the status new.

        Raises:
            JobNotFound: the job does not exist, or no longer exists.
            QueueUnavailable: Redis did not answer.
        """
        if self._published is not None and not self._published.done() and self._snapshot is not None:
            return self._snapshot
        self._follow()
        job = await self._queue.fetch(self.key)
        if job is None:
            raise JobNotFound(self.key)
        self._snapshot = job
        return job

    async def status(self) -> Status:
        """The current status. Raises as `refresh`."""
        return (await self.refresh()).status

    async def done(self) -> bool:
        """True when the job has ended, with any status. Raises as `refresh`."""
        return await self.status() in TERMINAL_STATUSES

    async def successful(self) -> bool:
        """True when the job has ended with a result. Raises as `refresh`."""
        return await self.status() is Status.COMPLETE

    async def result(self, timeout: float | None = None) -> R:
        """Wait until the job ends, and return its result as the declared type of the function.

        If a later call of a debounced task took the place of the job, this is the result of the job that ran, which
        the handle then refers to.

        Args:
            timeout: seconds to wait; None: no limit.

        Raises:
            JobFailed: the job failed; contains the worker's traceback.
            JobExpired: the job was not started in time.
            JobAborted: the job was aborted.
            JobNotFound: the job does not exist, or its outcome is not kept.
            ResultTimeout: the job has not ended in time; it continues to run.
            QueueUnavailable: Redis did not answer.
        """
        try:
            async with asyncio.timeout(timeout):
                job = await self._ended()
        except TimeoutError:
            raise ResultTimeout(self.key, timeout or 0.0) from None
        if job.status is Status.COMPLETE:
            return self._convert(job.result)
        raise _outcome_error(job)

    async def enqueued(self) -> bool:
        """Wait until the transaction that the job was enqueued in has ended; True if the job was enqueued then.

        False after a rollback, and when a job with its key or its unique arguments existed already: `key` and
        `created` then say so, as they do after an enqueue without a transaction.
        """
        committed = self._published is None or await asyncio.shield(self._published)
        self._follow()
        return committed and self.created

    def _follow(self) -> None:
        """Refer to the job that existed when this one was to be enqueued after the commit."""
        if self._existing and (key := self._existing.get(self.key)) is not None and self.created:
            self.key, self.created, self._snapshot = key, False, None

    async def abort(self, reason: str = "aborted by request") -> None:
        """Abort the job: a waiting job ends immediately, a running one when its worker notices (about a second).

        Raises:
            JobNotFound: the job does not exist, or no longer exists.
            JobConflict: its transaction is still open: roll it back, or abort the job after the commit.
            QueueUnavailable: Redis or PostgreSQL did not answer.
        """
        if self._published is not None and not self._published.done():
            raise JobConflict(self.key, "part of a transaction that has not ended", "aborted: roll that back")
        self._follow()
        job = await self._queue.fetch_to_abort(self.key)
        if job is None:
            raise JobNotFound(self.key)
        if job.status not in TERMINAL_STATUSES:
            await job.abort(reason)

    async def updates(self) -> AsyncIterator[JobUpdate]:
        """Yield each change of status or progress until the job ends, starting with the current state.

            async for update in job.updates():
                print(update.status, update.progress)

        Raises:
            JobNotFound: the job does not exist, or no longer exists.
            QueueUnavailable: Redis did not answer.
        """
        last: JobUpdate | None = None
        await self.enqueued()
        async with self._queue.listener.news(self.id) as news:
            while True:
                await news.get()
                job = await self.refresh()
                update = JobUpdate(job.status, job.progress)
                if update != last:
                    yield update
                if job.status in TERMINAL_STATUSES:
                    return
                last = update

    async def _ended(self) -> Job:
        await self.enqueued()
        while (newer := (job := await self._own_end()).meta.get(REPLACED_BY)) is not None:
            self.key, self.created, self._snapshot = newer, False, None
        return job

    async def _own_end(self) -> Job:
        if stored := await self._queue.result_channel.outcome(self.id):
            ended = self._queue.read(self.key, stored)
            if ended.status in TERMINAL_STATUSES:
                self._snapshot = ended
                return ended
        async with self._queue.listener.news(self.id) as news:
            while True:
                _, word = await news.get()
                # Only an end needs another read.
                if word == SUBSCRIBED or Status(word) in TERMINAL_STATUSES:
                    job = await self.refresh()
                    if job.status in TERMINAL_STATUSES:
                        return job


def handle_of(task: TaskDefinition, job: Job, queue: TaskQueue, enqueued: Enqueued) -> JobHandle[Any]:
    """The handle of the job that an enqueue created or found."""
    return JobHandle(
        queue,
        enqueued.key,
        task.signature.decode_result,
        job if enqueued.created else None,
        created=enqueued.created,
        published=enqueued.published,
        existing=enqueued.existing,
    )


def _outcome_error(job: Job) -> Exception:
    if job.status is Status.FAILED:
        return JobFailed(job.key, job.function, job.error or "")
    if job.error == EXPIRED:
        return JobExpired(job.key, job.function)
    return JobAborted(job.key, job.function, job.error or "")
