"""Queues: all queues of the application behind one object."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from saq import Job

from saqueduct.broker.outage import answering
from saqueduct.errors import ConfigurationError, JobNotFound, UnknownQueue, UnknownSchedule
from saqueduct.injection.injector import Injector
from saqueduct.queue.pausing import Pause
from saqueduct.queue.queue import EngineQueue, JobStore
from saqueduct.queue.schedule_states import ScheduleState
from saqueduct.schedules.schedule import Schedule
from saqueduct.tasks.definition import TaskDefinition, TaskLookup
from saqueduct.tasks.job import EngineJob, Enqueued
from saqueduct.tasks.queues import connected, current_queues, disconnected

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Host(Protocol):
    """Who connects queues anew in a process that was forked from the one where they were connected."""

    def reopen(self) -> None: ...


class ServingJobStore(JobStore, Protocol):
    """PostgreSQL, for the queues of a process."""

    @property
    def schema(self) -> str | None:
        """Of the tables; None: what the `search_path` of a connection finds."""

    def serve(self, queues: Sequence[EngineQueue]) -> None: ...
    async def close(self) -> None: ...


class Queues:
    """The queues of the application; enqueues by task name, finds, aborts and retries jobs by key.

    Args:
        queues: the queues, by name.
        tasks: the tasks whose jobs they carry.
        memory: what PostgreSQL does for them; None: nothing.
    """

    def __init__(
        self, queues: Mapping[str, EngineQueue], tasks: TaskLookup, memory: ServingJobStore | None = None
    ) -> None:
        self.by_name = dict(queues)
        self.memory = memory
        self.injector: Injector | None = None
        """What direct and blocking calls of tasks are injected from; None: nothing is."""
        self.host: Host | None = None
        """Who connects them anew in a forked process; None: nobody."""
        self.tasks = tasks
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        """Of the process that connected them last."""

    def get(self, name: str) -> EngineQueue:
        """The queue of that name.

        Raises:
            ConfigurationError: there is none; the message lists those there are.
        """
        try:
            return self.by_name[name]
        except KeyError:
            known = ", ".join(self.by_name)
            raise ConfigurationError(f"there is no queue {name!r} in QUEUE_NAMES (there are: {known})") from None

    def look_up(self, name: str) -> EngineQueue:
        """The queue that a person asks for by name.

        Raises:
            UnknownQueue: there is none.
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
            task: the task's name, or the task with options of this call.
            arguments: by parameter name.
            session: write it in this session's transaction; it exists if and only if that commits.
            fields: fields of SAQ's Job, such as `key` or `timeout`.

        Returns:
            The job; where one of its `key` or its unique arguments stands already, that older one, with `created`
            False.

        Raises:
            UnknownTask, InvalidArguments, PayloadTooLarge, DuplicateJob: nothing is enqueued.
            QueueUnavailable: Redis did not answer.
        """
        definition = self.tasks.get(task) if isinstance(task, str) else task
        queue = self.get(definition.queue_name)
        job = definition.job(arguments or {}, limit=queue.max_payload_bytes, **fields)
        [stands] = await queue.enqueue_many([job], session=session)
        return await self._standing(queue, job, stands)

    def locate(self, given: str) -> tuple[str, str | None]:
        """Key and queue of a job, out of its key (the queue is None) or SAQ's full id (`job.id`, such as
        "saq:job:default:welcome-7")."""
        for queue in self:
            prefix = queue.job_id("")
            if given.startswith(prefix) and given != prefix:
                return given.removeprefix(prefix), queue.name
        return given, None

    async def find(self, key: str, queue: str | None = None) -> Job:
        """The job of that key, in whichever queue it is.

        Args:
            key: the job's, or SAQ's full id of it, see `locate`.
            queue: the only one to look in; None: that of the full id, or all.

        Raises:
            JobNotFound: in none.
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
        """Abort a job: a waiting one ends at once, also in the outbox; a running one when its worker notices (about a
        second).

        Raises:
            JobNotFound: no such job.
            JobConflict: it has ended already, or is on its way from the outbox to Redis.
            QueueUnavailable: Redis or PostgreSQL did not answer.
        """
        job = await self._find_to_abort(key)
        name = job.get_queue().name
        await self.get(name).abort_by_hand(job, reason)
        return await self.find(job.key, name)

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
        """Queue a job that has ended once more, with the same arguments and key.

        Raises:
            JobNotFound: no such job.
            JobConflict: it has not ended, or was replayed as a dead letter.
            QueueUnavailable: Redis did not answer.
        """
        job = await self.find(key)
        return await self.get(job.get_queue().name).retry_by_hand(job)

    async def schedules(self) -> list[ScheduleState]:
        """All schedules of the tasks, as they stand.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        by_queue: dict[str, list[TaskDefinition]] = {}
        for task in self.tasks.get_all_tasks():
            if task.schedules:
                by_queue.setdefault(task.queue_name, []).append(task)
        async with answering():
            return [
                state
                for name, tasks in by_queue.items()
                for state in await self.get(name).schedule_states.states(tasks)
            ]

    async def pause_schedule(self, key: str, by: str = "", why: str = "") -> Pause:
        """Let no tick of a schedule make a job until `resume_schedule`; those that come due meanwhile are skipped.

        It holds through restarts and deploys, until the schedule is taken out of the code. One that is paused stays
        so, with the new words.

        Args:
            key: the schedule's; that of a task's only schedule is the task's name, unless it has a key of its own.
            by: who pauses it.
            why: for those who find it paused.

        Raises:
            UnknownSchedule: no task has it.
            QueueUnavailable: Redis did not answer.
        """
        queue, _, _ = self._schedule(key)
        async with answering():
            return await queue.schedule_states.pause(key, by, why)

    async def resume_schedule(self, key: str) -> bool:
        """Let the ticks of a schedule make jobs again, from the next one on; returns False when it was not paused.

        Raises:
            UnknownSchedule: no task has it.
            QueueUnavailable: Redis did not answer.
        """
        queue, _, _ = self._schedule(key)
        async with answering():
            return await queue.schedule_states.resume(key)

    async def trigger_schedule(self, key: str) -> EngineJob:
        """Make a job of a schedule now, with its arguments, also while it is paused; its ticks stay as they are.

        The job counts as the last one of the schedule: with `overlap="skip"` the next tick makes none while it stands.

        Returns:
            The job; where `overlap` or the task's `unique` lets an older one stand in its way, that, with `created`
            False.

        Raises:
            UnknownSchedule: no task has it.
            PayloadTooLarge, DuplicateJob: nothing is enqueued.
            QueueUnavailable: Redis did not answer.
        """
        queue, task, schedule = self._schedule(key)
        job, stands = await queue.schedule_states.trigger(task, schedule, queue.max_payload_bytes)
        if stands.created:
            await queue.adopt([job])
        return await self._standing(queue, job, stands)

    def _schedule(self, key: str) -> tuple[EngineQueue, TaskDefinition, Schedule]:
        tasks = self.tasks.get_all_tasks()
        found = {schedule.key: (task, schedule) for task in tasks for schedule in task.schedules}
        if key not in found:
            raise UnknownSchedule(key, found)
        task, schedule = found[key]
        return self.get(task.queue_name), task, schedule

    async def _standing(self, queue: EngineQueue, job: EngineJob, stands: Enqueued) -> EngineJob:
        """The job that stands after an enqueue: this one, or an older one in its place."""
        if stands.created:
            return job
        standing = await queue.fetch(stands.key) or job
        standing.created = False
        return standing

    @property
    def outlives_forks(self) -> bool:
        """True when a forked process can connect them again."""
        return self.host is not None

    def is_connected_in(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """True when this event loop has connected them last."""
        return self._loop is loop

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that they are connected in; in a forked process one of its own, if they have a host.

        Raises:
            ConfigurationError: they are not connected, or not in this process.
        """
        self.check_process()
        if self._loop is None:
            raise ConfigurationError("these queues are not connected: call `await queues.connect()` first")
        return self._loop

    def check_process(self) -> None:
        """Notice a fork: threads and event loops stay in the parent, and its connections are the parent's.

        Raises:
            ConfigurationError: these queues were connected by the parent, and nobody can connect them here.
        """
        if self._pid in (0, os.getpid()):
            return
        if self.host is None:
            raise self._of_parent()
        self.host.reopen()

    def _of_parent(self) -> ConfigurationError:
        return ConfigurationError(
            f"these queues were connected in the process {self._pid}, of which this one is a fork: connect others "
            "here, such as `app.shell.open_container()` for blocking calls, or connect after the fork"
        )

    def become(self, successor: "Queues") -> list[dict[str, Any]]:
        """Turn into other queues of the same names, for all who hold these; returns what they were."""
        pairs: list[tuple[object, object]] = [(each, successor.by_name[name]) for name, each in self.by_name.items()]
        pairs.append((self, successor))
        before = [vars(mine) for mine, _ in pairs]
        for mine, its in pairs:
            # What they are is one from now on: their parts know the successors.
            object.__setattr__(mine, "__dict__", vars(its))
        return before

    async def connect(self) -> None:
        """Bind every queue to the running event loop, and serve the tasks' own `enqueue` from now on.

        Raises:
            OtherEventLoop: they are connected in another event loop.
            ConfigurationError: they were connected before this process was forked.
        """
        if self._pid not in (0, os.getpid()):
            raise self._of_parent()
        for queue in self:
            await queue.connect()
        if self.memory is not None:
            self.memory.serve(list(self))
        self._loop, self._pid = asyncio.get_running_loop(), os.getpid()
        connected(self)

    async def disconnect(self) -> None:
        """Close every queue's connections."""
        disconnected(self)
        if self.memory is not None:
            await self.memory.close()
        for queue in self:
            await queue.disconnect()
        self._pid = 0

    @staticmethod
    def current() -> "Queues":
        """The queues of this process: those connected last in this event loop, else those connected last.

        Raises:
            ConfigurationError: there are none.
        """
        queues = current_queues()
        if not isinstance(queues, Queues):
            raise ConfigurationError(f"the queues of this process are no Queues, but {queues!r}")
        return queues

    def __iter__(self) -> Iterator[EngineQueue]:
        return iter(self.by_name.values())
