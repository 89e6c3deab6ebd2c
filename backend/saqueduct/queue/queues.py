"""Queues: all queues of the application behind one object."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from saq import Job

from saqueduct.broker.outage import answering
from saqueduct.errors import ConfigurationError, JobNotFound, UnknownQueue, UnknownSchedule
from saqueduct.injection.injector import Injector
from saqueduct.queue.audit import Audit, AuditStore
from saqueduct.queue.pausing import Pause
from saqueduct.queue.queue import EngineQueue, JobStore
from saqueduct.queue.schedule_states import ScheduleState
from saqueduct.queue.workers import Workers
from saqueduct.schedules.schedule import Schedule
from saqueduct.sizes import Sizes
from saqueduct.tasks.definition import TaskDefinition, TaskLookup
from saqueduct.tasks.job import EngineJob, Enqueued
from saqueduct.tasks.queues import connected, current_queues, disconnected
from saqueduct.timings import PostgresTimings, Timings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Host(Protocol):
    """Connects queues again in a process forked from the one where they were connected."""

    def reopen(self) -> None: ...


class ServingJobStore(JobStore, Protocol):
    """PostgreSQL, for the queues of a process."""

    @property
    def schema(self) -> str | None:
        """Schema of the tables; None: the schema that the `search_path` of a connection finds."""

    @property
    def timings(self) -> PostgresTimings:
        """Its intervals, waits and limits."""
        ...

    @property
    def sizes(self) -> Sizes:
        """How much it holds and reads at once."""
        ...

    @property
    def audit(self) -> AuditStore:
        """Notes the actions of people."""
        ...

    def serve(self, queues: Sequence[EngineQueue]) -> None: ...
    async def close(self) -> None: ...


class Queues:
    """The application's queues: enqueue by task name; find, abort and retry jobs by key.

    Args:
        queues: the queues, by name.
        tasks: the tasks whose jobs they contain.
        store: the job store in PostgreSQL; None: there is none.
    """

    def __init__(
        self, queues: Mapping[str, EngineQueue], tasks: TaskLookup, store: ServingJobStore | None = None
    ) -> None:
        self.by_name = dict(queues)
        self.store = store
        self.audit = Audit(None if store is None else store.audit)
        """Notes the actions of people."""
        self.injector: Injector | None = None
        """The injector for direct and blocking calls of tasks; None: nothing is injected."""
        self.host: Host | None = None
        """Connects the queues again in a forked process; None: they cannot connect again."""
        self.tasks = tasks
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        """Id of the process that connected them last."""

    def get(self, name: str) -> EngineQueue:
        """The queue of that name.

        Raises:
            ConfigurationError: there is none; the message lists the existing queues.
        """
        try:
            return self.by_name[name]
        except KeyError:
            known = ", ".join(self.by_name)
            raise ConfigurationError(
                f"there is no queue {name!r} in the setting `queues` (QUEUE_NAMES): there are {known}"
            ) from None

    def look_up(self, name: str) -> EngineQueue:
        """The queue for a name from user input.

        Raises:
            UnknownQueue: there is no such queue.
        """
        if name not in self.by_name:
            raise UnknownQueue(name, self.by_name)
        return self.by_name[name]

    async def enqueue(
        self,
        task: str | TaskDefinition,
        arguments: Mapping[str, Any] | None = None,
        *,
        session: "AsyncSession | None" = None,
        **fields: Any,
    ) -> EngineJob:
        """Enqueue a job of a task on the task's queue.

            job = await queues.enqueue("send_email", {"to": "ada@example.com", "subject": "Hi", "body": "..."})

        Args:
            task: the task's name, or the task with options for this call.
            arguments: by parameter name.
            session: write the job in this session's transaction; it exists if and only if that commits.
            fields: fields of SAQ's Job, such as `key` or `timeout`.

        Returns:
            The job; if one with its `key` or its unique arguments already exists, that older job, with `created`
            False.

        Raises:
            UnknownTask, InvalidArguments, PayloadTooLarge, DuplicateJob: nothing is enqueued.
            QueueUnavailable: Redis did not answer.
        """
        definition = self.tasks.get(task) if isinstance(task, str) else task
        queue = self.get(definition.queue_name)
        job = definition.job(arguments or {}, limit=queue.max_payload_bytes, **fields)
        [answer] = await queue.enqueue_many([job], session=session)
        return await self._existing_or_new(queue, job, answer)

    def locate(self, given: str) -> tuple[str, str | None]:
        """Key and queue of a job, from its key (then the queue is None) or SAQ's full id (`job.id`, such as
        "saq:job:default:welcome-7")."""
        for queue in self:
            prefix = queue.job_id("")
            if given.startswith(prefix) and given != prefix:
                return given.removeprefix(prefix), queue.name
        return given, None

    async def find(self, key: str, queue: str | None = None) -> Job:
        """Find the job of that key in any queue.

        Args:
            key: the job's key, or its full SAQ id, see `locate`.
            queue: the only queue to search; None: the queue of the full id, or all queues.

        Raises:
            JobNotFound: no queue has it.
            QueueUnavailable: Redis did not answer.
        """
        key, named = self.locate(key)
        only = queue or named
        for each in self if only is None else [self.look_up(only)]:
            job = await each.fetch(key)
            if job is not None:
                return job
        raise JobNotFound(key)

    async def abort(self, key: str, reason: str = "aborted by request") -> Job:
        """Abort a job: a waiting one ends immediately, also in the outbox; a running one when its worker notices (about
        a second).

        Raises:
            JobNotFound: no such job.
            JobConflict: it has already ended, or is being moved from the outbox to Redis.
            QueueUnavailable: Redis or PostgreSQL did not answer.
        """
        job = await self._find_to_abort(key)
        name = job.get_queue().name
        await self.get(name).abort_by_hand(job, reason)
        # Where its task keeps no results, Redis forgets a waiting job as it ends.
        return await self.get(name).fetch(job.key) or job

    async def _find_to_abort(self, given: str) -> Job:
        try:
            return await self.find(given)
        except JobNotFound:
            key, name = self.locate(given)
            for queue in self if name is None else [self.look_up(name)]:
                if (job := await queue.fetch_to_abort(key)) is not None:
                    return job
            raise

    async def retry(self, key: str) -> Job:
        """Queue an ended job again, with the same arguments and key.

        Raises:
            JobNotFound: no such job.
            JobConflict: it has not ended, or was replayed as a dead letter.
            QueueUnavailable: Redis did not answer.
        """
        job = await self.find(key)
        return await self.get(job.get_queue().name).retry_by_hand(job)

    async def schedules(self) -> list[ScheduleState]:
        """All schedules of the tasks, with their current state.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        by_queue: dict[str, list[TaskDefinition]] = {}
        for task in self.tasks.get_all_tasks():
            if task.schedules:
                by_queue.setdefault(task.queue_name, []).append(task)
        async with answering(self.answer_timeout):
            return [
                state
                for name, tasks in by_queue.items()
                for state in await self.get(name).schedule_states.states(tasks)
            ]

    @property
    def answer_timeout(self) -> float:
        """Maximum seconds of a call that asks several queues."""
        return max((queue.core.timings.answer for queue in self), default=Timings().answer)

    @property
    def workers(self) -> Workers:
        """The live worker processes."""
        return Workers(self.by_name.values(), self.answer_timeout)

    async def pause_schedule(self, key: str, by: str = "", why: str = "") -> Pause:
        """Stop the ticks of a schedule from creating jobs until `resume_schedule`; ticks in between are skipped.

        It survives restarts and deploys, until the schedule is removed from the code. A paused schedule stays paused,
        with the new text.

        Args:
            key: the schedule's key; for a task's only schedule the task's name, unless the schedule sets a key.
            by: who pauses the schedule.
            why: the reason, shown with the paused schedule.

        Raises:
            UnknownSchedule: no task has such a schedule.
            QueueUnavailable: Redis did not answer.
        """
        queue, _, _ = self._schedule(key)
        async with answering(self.answer_timeout):
            return await queue.schedule_states.pause(key, by, why)

    async def resume_schedule(self, key: str) -> bool:
        """Let the ticks of a schedule create jobs again, from the next one on; returns False if it was not paused.

        Raises:
            UnknownSchedule: no task has such a schedule.
            QueueUnavailable: Redis did not answer.
        """
        queue, _, _ = self._schedule(key)
        async with answering(self.answer_timeout):
            return await queue.schedule_states.resume(key)

    async def trigger_schedule(self, key: str) -> EngineJob:
        """Create a job of a schedule now, with its arguments, even while it is paused; its ticks do not change.

        The job counts as the schedule's last one: with `overlap="skip"` the next tick creates none until it ends.

        Returns:
            The job; if `overlap` or the task's `unique` keeps an older job instead, that job, with `created` False.

        Raises:
            UnknownSchedule: no task has such a schedule.
            PayloadTooLarge, DuplicateJob: nothing is enqueued.
            QueueUnavailable: Redis did not answer.
        """
        queue, task, schedule = self._schedule(key)
        job, answer = await queue.schedule_states.trigger(task, schedule, queue.max_payload_bytes)
        if answer.created:
            await queue.adopt([job])
        return await self._existing_or_new(queue, job, answer)

    def _schedule(self, key: str) -> tuple[EngineQueue, TaskDefinition, Schedule]:
        tasks = self.tasks.get_all_tasks()
        found = {schedule.key: (task, schedule) for task in tasks for schedule in task.schedules}
        if key not in found:
            raise UnknownSchedule(key, found)
        task, schedule = found[key]
        return self.get(task.queue_name), task, schedule

    async def _existing_or_new(self, queue: EngineQueue, job: EngineJob, answer: Enqueued) -> EngineJob:
        """The job that exists after an enqueue: this one, or an older one instead."""
        if answer.created:
            return job
        existing = await queue.fetch(answer.key) or job
        existing.created = False
        return existing

    @property
    def outlives_forks(self) -> bool:
        """True if a forked process can connect them again."""
        return self.host is not None

    def is_connected_in(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """True if this event loop connected them last."""
        return self._loop is loop

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop in which they are connected; in a forked process a new one, if they have a host.

        Raises:
            ConfigurationError: they are not connected, or not in this process.
        """
        self.check_process()
        if self._loop is None:
            raise ConfigurationError("these queues are not connected: call `await queues.connect()` first")
        return self._loop

    def check_process(self) -> None:
        """Detect a fork: threads and event loops stay in the parent, and the connections belong to the parent.

        Raises:
            ConfigurationError: the parent connected these queues, and they cannot be connected here.
        """
        if self._pid in (0, os.getpid()):
            return
        if self.host is None:
            raise self._of_parent()
        self.host.reopen()

    def _of_parent(self) -> ConfigurationError:
        return ConfigurationError(
            f"these queues were connected in the process {self._pid}, of which this one is a fork: connect others "
            "here, for blocking calls with a `BlockingContainer` of saqueduct.blocking, or connect after the fork"
        )

    def become(self, successor: "Queues") -> list[dict[str, Any]]:
        """Become other queues with the same names, for all holders of these; returns the previous state."""
        pairs: list[tuple[object, object]] = [(each, successor.by_name[name]) for name, each in self.by_name.items()]
        pairs.append((self, successor))
        before = [vars(mine) for mine, _ in pairs]
        for mine, its in pairs:
            # Both share their state from now on: the parts refer to the successors.
            object.__setattr__(mine, "__dict__", vars(its))
        return before

    async def connect(self) -> None:
        """Bind every queue to the running event loop, and use these queues for `enqueue` of the tasks from now on.

        Raises:
            OtherEventLoop: they are connected in another event loop.
            ConfigurationError: they were already connected before this process was forked.
        """
        if self._pid not in (0, os.getpid()):
            raise self._of_parent()
        for queue in self:
            await queue.connect()
        if self.store is not None:
            self.store.serve(list(self))
        self._loop, self._pid = asyncio.get_running_loop(), os.getpid()
        connected(self)

    async def disconnect(self) -> None:
        """Close every queue's connections."""
        disconnected(self)
        if self.store is not None:
            await self.store.close()
        for queue in self:
            await queue.disconnect()
        self._pid = 0

    @staticmethod
    def current() -> "Queues":
        """The queues of this process: the last ones connected in this event loop, else the last ones connected.

        Raises:
            ConfigurationError: no queues are connected.
        """
        queues = current_queues()
        if not isinstance(queues, Queues):
            raise ConfigurationError(f"the queues of this process are not Queues, but {queues!r}")
        return queues

    def __iter__(self) -> Iterator[EngineQueue]:
        return iter(self.by_name.values())
