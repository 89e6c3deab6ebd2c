"""EngineQueue: the application's queue. Enqueues validated jobs in batches, with priorities and unique claims.

Overrides these methods of SAQ 0.26, in addition to those of LeasedQueue:

- `enqueue`, `_before_enqueue`, `_enqueue`: SAQ treats a keyword named like a Job field as a job option, validates
  nothing, and makes one round trip per job.
- `retry`: SAQ's method queues a job that still waits or runs a second time, and keeps its number of attempts.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from redis.asyncio import Redis
from saq import Job
from saq.job import TERMINAL_STATUSES, Status

from saqueduct.broker.batch_sizes import BATCH_BYTES
from saqueduct.broker.keys import REPORTS, WORKERS_PAUSED
from saqueduct.broker.outage import answering
from saqueduct.common.text import storable
from saqueduct.errors import ConfigurationError, DuplicateJob, JobConflict
from saqueduct.queue.core import MAX_RECOVERIES
from saqueduct.queue.enqueuing import Answer, Enqueuer, without_conflicts
from saqueduct.queue.keeping import Keeper
from saqueduct.queue.pausing import Pause, Pauses
from saqueduct.queue.published_marks import PublishedMarks
from saqueduct.queue.queue_state import QueueState, StateReader
from saqueduct.queue.retrying import Retrier, check_retried
from saqueduct.queue.saq_queue import LeasedQueue
from saqueduct.queue.schedule_states import ScheduleStates
from saqueduct.queue.tracing import end, ending
from saqueduct.queue.unrecorded import UnrecordedJobs
from saqueduct.queue.validation import CallValidator
from saqueduct.sizes import Sizes
from saqueduct.tasks.definition import TaskLookup
from saqueduct.tasks.encoding import MAX_PAYLOAD_CEILING
from saqueduct.tasks.job import EngineJob, Enqueued, check_names
from saqueduct.tasks.job_meta import DURABLE, checked, engine_entries
from saqueduct.tasks.log_context import events, log_enqueued
from saqueduct.tasks.signature import MAX_PAYLOAD_BYTES
from saqueduct.timings import Timings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class JobStore(Protocol):
    """Stores jobs that must survive the loss of Redis, or that belong to a transaction."""

    async def keep(self, queue: "EngineQueue", jobs: Sequence[Job]) -> list[Enqueued]: ...

    async def write(self, session: "AsyncSession", queue: "EngineQueue", jobs: Sequence[Job]) -> list[Enqueued]: ...

    async def adopt(self, queue: "EngineQueue", jobs: Sequence[Job]) -> None: ...

    async def hold(self, queue: "EngineQueue", key: str) -> None: ...

    async def retry(self, job: Job, again: Callable[[], Awaitable[Job]]) -> Job: ...

    async def watch(self, queue: "EngineQueue") -> None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class QueueStats:
    """A queue in numbers.

    Attributes:
        queued: jobs that are ready and wait for a worker.
        active: running jobs.
        scheduled: delayed jobs that are not due yet.
        workers: live workers, including those that take no jobs because the queue is paused.
        paused: who paused it, why and since when; None: it is not paused.
    """

    queued: int
    active: int
    scheduled: int
    workers: int
    paused: Pause | None


class EngineQueue(LeasedQueue):
    """A named queue in Redis.

    Args:
        redis: the Redis client; `disconnect` closes it.
        name: the queue's name.
        tasks: tasks to validate calls against; None: any name and any arguments are accepted, as in SAQ.
        max_payload_bytes: largest encoded arguments, and largest encoded result, of one job, in bytes; at most
            MAX_PAYLOAD_CEILING.
        max_recoveries: how often a job is queued again after its workers died, until it runs alone in its process.
        batch_bytes: maximum bytes of jobs in one call to Redis; a larger job is sent alone.
        timings: intervals, waits and limits of the queue and its workers.
        sizes: how large a job may be.
        options: further arguments of SAQ's RedisQueue.

    Raises:
        ValueError: a limit is larger than Redis allows.
    """

    def __init__(
        self,
        redis: Redis,
        name: str = "default",
        *,
        tasks: TaskLookup | None = None,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        max_recoveries: int = MAX_RECOVERIES,
        batch_bytes: int = BATCH_BYTES,
        timings: Timings | None = None,
        sizes: Sizes | None = None,
        **options: Any,
    ) -> None:
        super().__init__(redis, name, timings=timings, sizes=sizes, **options)
        self.core.max_recoveries, self.core.batch_bytes = max_recoveries, batch_bytes
        if not 0 < max_payload_bytes <= MAX_PAYLOAD_CEILING:
            raise ValueError(f"max_payload_bytes must be 1 to {MAX_PAYLOAD_CEILING:,}, not {max_payload_bytes!r}")
        self.tasks = tasks
        self.max_payload_bytes = max_payload_bytes
        self.store: JobStore | None = None
        """Stores durable jobs, and jobs of a caller's transaction; None: there is no PostgreSQL."""
        self.validator = CallValidator(tasks, max_payload_bytes, name)
        self.enqueuer = Enqueuer(self.core, self.reader)
        self.schedule_states = ScheduleStates(self.core, self.enqueuer)
        self.unrecorded = UnrecordedJobs(self.core)
        self.published_marks = PublishedMarks(self.core)
        self.pauses = Pauses(self.core)
        self._keeper = Keeper(self.core, self.reader)
        self._retrier = Retrier(self.core, self.reader, tasks)
        self._state = StateReader(self.core)

    async def enqueue(self, job_or_func: str | Job, /, **kwargs: Any) -> Job | None:  # type: ignore[override]
        """Validate and enqueue a job, by task name or as a Job.

        A keyword that the task's function declares is an argument, even if SAQ's Job has a field of that name;
        other keywords that name a field (`key`, `timeout`, `scheduled`, ...) are options of the job.

            await queue.enqueue("send_email", to="ada@example.com", subject="Hi", body="...", key="hello-ada")

        Returns:
            The job, or None if a job with that key, or with the same unique arguments, already exists.

        Raises:
            UnknownTask, InvalidArguments, PayloadTooLarge, DuplicateJob: nothing is enqueued.
            QueueUnavailable: Redis did not answer; the job may or may not be in the queue.
        """
        return await super().enqueue(self.validator.job(job_or_func, kwargs))

    async def _before_enqueue(self, job: Job) -> None:
        own = engine_entries(job.meta)
        await super()._before_enqueue(job)
        job.meta = checked(job.meta, own)
        check_names(job)

    async def _enqueue(self, job: Job) -> Job | None:
        self.guard.check()
        sending = None if self.core.tracer is None else self.core.tracer.sending([job])
        try:
            if job.meta.get(DURABLE):
                answer: Enqueued | DuplicateJob | None
                [answer] = await self._keeper.keep([job], partial(self._remembering().keep, self))
            elif (answer := await self.enqueuer.unless_stock_aborts(job)) is not None:
                [answer] = without_conflicts([answer])
        except BaseException as error:
            end(sending, error)
            raise
        end(sending)
        if answer is not None and answer.created and events.isEnabledFor(logging.DEBUG):
            log_enqueued([job])
        return job if answer is not None and answer.created else None

    async def enqueue_many(
        self,
        jobs: Sequence[Job],
        report: Callable[[int], None] | None = None,
        session: "AsyncSession | None" = None,
    ) -> list[Enqueued]:
        """Enqueue jobs whose arguments are already validated, many in one round trip.

        Args:
            jobs: any number of jobs.
            report: called after each round trip with the number of jobs sent so far.
            session: write the jobs in its transaction; they are enqueued after it commits.

        Returns:
            For each job the one that exists now: itself, or an older one with its key or its unique arguments.

        Raises:
            PayloadTooLarge: the arguments of a job are too large; nothing is enqueued.
            DuplicateJob: a unique job with `on_conflict="raise"` already exists; the others are enqueued.
            QueueUnavailable: Redis did not answer; some jobs may have been enqueued.
            JobConflict: a job with the same key is being aborted, and has not ended in time.
            ConfigurationError: durable jobs or a session need PostgreSQL, and there is none.
            OtherEventLoop: the queue is connected in another event loop.
        """
        self.guard.check()
        await self.enqueuer.prepare(jobs)
        tracer = self.core.tracer
        sending = None if tracer is None else tracer.sending(jobs, kept=session is not None)
        try:
            if session is not None:
                enqueued = await self._keeper.keep(jobs, partial(self._remembering().write, session, self))
            elif any(job.meta and job.meta.get(DURABLE) for job in jobs):
                enqueued = await self._enqueue_some_durable(jobs, report)
            elif len(jobs) == 1 and report is None:
                enqueued = without_conflicts([await self.enqueuer.one(jobs[0])])
            else:
                enqueued = without_conflicts(await self.enqueuer.many(jobs, report))
        except BaseException as error:
            end(sending, error)
            raise
        end(sending)
        if events.isEnabledFor(logging.DEBUG):
            log_enqueued([job for job, answer in zip(jobs, enqueued, strict=True) if answer.created])
        return enqueued

    async def retry(self, job: Job, error: str | None) -> None:
        """Queue a job again, with SAQ's API: for a stock worker whose attempt failed, or by hand.

        Raises:
            JobConflict: for a retry by hand, see `retry_by_hand`.
        """
        own = job if isinstance(job, EngineJob) else None
        if (own is not None and own.looked_up) or not await self.stock_worker_has(job):
            if own is not None and own.dequeued:
                await self.give_up(job)
                return
            job.replace(await self.retry_by_hand(job))
            job.error = error
            self.retried += 1
            return
        await super().retry(job, error)

    async def retry_by_hand(self, job: Job) -> Job:
        """Queue an ended job again, as new, with the same arguments and key and the next manual retry number.

        Raises:
            JobConflict: the job has not ended, or was replayed as a dead letter.
            QueueUnavailable: Redis did not answer.
        """
        ended = await self._retrier.ended(job)
        again = partial(self._enqueue_again, ended)
        return await again() if self.store is None else await self.store.retry(ended, again)

    async def _enqueue_again(self, job: EngineJob) -> Job:
        self._retrier.renew(job)
        [enqueued] = await self.enqueue_many([job])
        check_retried(job, enqueued)
        return job

    async def abort_by_hand(self, job: Job, reason: str) -> None:
        """Abort a job, like `abort`.

        Args:
            job: the job, just read.
            reason: text for the job's error.

        Raises:
            JobConflict: the job has already ended.
            QueueUnavailable: Redis did not answer.
        """
        if job.status in TERMINAL_STATUSES:
            raise JobConflict(job.key, job.status.value, "aborted")
        async with answering(self.core.timings.answer):
            await self.abort(job, reason)
            if job.status not in (Status.ABORTING, Status.ABORTED):
                # It has ended since it was read.
                present = await self.job(job.key) or job
                raise JobConflict(job.key, present.status.value, "aborted")

    async def _enqueue_some_durable(self, jobs: Sequence[Job], report: Callable[[int], None] | None) -> list[Enqueued]:
        durable = [job for job in jobs if job.meta.get(DURABLE)]
        others = [job for job in jobs if not job.meta.get(DURABLE)]
        kept = await self._keeper.keep(durable, partial(self._remembering().keep, self))
        answers = dict(zip(map(id, durable), kept, strict=True))
        if report:
            report(len(durable))
        further = (lambda count: report(len(durable) + count)) if report else None
        if others:
            enqueued = without_conflicts(await self.enqueuer.many(others, further))
            answers.update(zip(map(id, others), enqueued, strict=True))
        return [answers[id(job)] for job in jobs]

    async def adopt(self, jobs: Sequence[Job]) -> None:
        """Record durable jobs that already exist in Redis, such as those of schedules."""
        durable = [job for job in jobs if job.meta.get(DURABLE)]
        if durable and self.store is not None:
            await self.store.adopt(self, durable)

    def _remembering(self) -> JobStore:
        if self.store is None:
            raise ConfigurationError(
                f"the queue {self.name!r} has no store: durable jobs, and those of a session, need PostgreSQL"
            )
        return self.store

    async def publish(
        self, jobs: Sequence[Job], deadline: float, *, again: bool = False, within_call: bool = False
    ) -> list[Answer | None]:
        """Enqueue jobs from the outbox; see `Enqueuer.publish`.

        Args:
            jobs, deadline, again: as there.
            within_call: True if the call that enqueues them has not returned yet: its span covers this.
        """
        tracer = None if within_call else self.core.tracer
        with ending(None if tracer is None else tracer.publishing(jobs)):
            return await self.enqueuer.publish(jobs, deadline, again=again)

    async def fetch(self, key: str) -> EngineJob | None:
        """The job of that key, or None; for a job that cannot be read, its placeholder.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        if storable(key) != key:
            return None
        return await self.reader.fetch(key)

    async def fetch_to_abort(self, key: str) -> EngineJob | None:
        """Like `fetch`, but also moves a committed job that only PostgreSQL has to Redis, where it can be aborted.

        Raises:
            JobConflict: another process is moving it right now.
            QueueUnavailable: Redis or PostgreSQL did not answer.
        """
        job = await self.fetch(key)
        if job is None and self.store is not None:
            await self.store.hold(self, key)
            job = await self.fetch(key)
        return job

    async def stats(self) -> QueueStats:
        """Statistics of the queue, and whether it is paused.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        state = await self.state()
        return QueueStats(state.queued, state.active, state.scheduled, state.live_workers, state.paused)

    async def state(self) -> QueueState:
        """All that is known about the queue as a whole, in one round trip.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        async with answering(self.core.timings.answer):
            return await self._state.read()

    @property
    def away(self) -> bool:
        """True while Redis does not answer the worker of this process."""
        return self.outage.failures > 0

    async def ping(self) -> None:
        """Ask Redis for an answer.

        Raises:
            QueueUnavailable: it did not answer.
        """
        async with answering(self.core.timings.answer):
            await self.redis.ping()

    async def pause(self, by: str = "", why: str = "") -> Pause:
        """Stop engine workers from taking jobs of this queue until `resume`; running jobs and enqueues continue.

        It takes effect immediately, also for workers that start later. A paused queue stays paused, with the new text.

        Args:
            by: who pauses the queue.
            why: the reason, shown with the paused queue.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        async with answering(self.core.timings.answer):
            return await self.pauses.pause(by, why)

    async def resume(self) -> bool:
        """Let workers take jobs again immediately; returns False if the queue was not paused.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        async with answering(self.core.timings.answer):
            return await self.pauses.resume()

    async def paused(self) -> Pause | None:
        """Who paused the queue, why and since when; None: it is not paused.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        async with answering(self.core.timings.answer):
            return await self.pauses.current()

    async def drain(self, timeout: float, by: str = "", why: str = "to drain") -> int:
        """Pause the queue, and wait until none of its jobs runs; it stays paused.

            left = await queue.drain(timeout=60)

        Args:
            timeout: maximum seconds to wait.
            by, why: as in `pause`.

        Returns:
            The number of jobs that still run; 0: it is drained.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        await self.pause(by, why)
        return await self.wait_until_idle(timeout)

    async def wait_until_idle(self, timeout: float) -> int:
        """Wait until none of its jobs runs, at most `timeout` seconds; returns how many still run.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            async with answering(self.core.timings.answer):
                active = await self.reader.count("active")
            left = end - loop.time()
            if not active or left <= 0:
                return active
            await asyncio.sleep(min(self.core.timings.drain_look, left))

    async def forget_worker(self, worker_id: str) -> None:
        """Remove a stopped worker from the live workers immediately."""
        key = self.namespace(f"worker_info:{worker_id}")
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            pipe.zrem(self._stats, key)
            pipe.hdel(self.namespace(REPORTS), worker_id)
            pipe.hdel(self.namespace(WORKERS_PAUSED), worker_id)
            await pipe.execute()

    async def problems(self) -> list[str]:
        """Problems of live workers of this queue, one sentence each."""
        return (await self._state.read()).problems

    async def live_workers(self) -> int:
        """Number of workers of this queue that have reported within their time to live."""
        return len(await self.reader.live_workers())
