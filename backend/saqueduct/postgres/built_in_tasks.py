"""The tasks that come with PostgreSQL: many jobs are changed, and many dead letters replayed, by a job."""

import asyncio
import datetime as dt
import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from saq import Job
from saq.job import CronJob
from saq.types import Context
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.errors import GiveUp, NoJobRecords, QueueError, UnknownTask
from saqueduct.postgres.changes import Change, Changes
from saqueduct.postgres.dead_letters import DeadLetters, Resolved
from saqueduct.postgres.record_filter import DeadLetterFilter, RecordFilter
from saqueduct.postgres.store import PostgresStore
from saqueduct.queue.queues import Queues
from saqueduct.tasks.controllers import TaskController
from saqueduct.tasks.registry import TaskRegistry
from saqueduct.tasks.task import Task
from saqueduct.tasks.unique import Unique

C = TypeVar("C", bound=TaskController)


async def replay_all(
    dead_letters: DeadLetters,
    session: AsyncSession,
    job: Job,
    which: DeadLetterFilter,
    *,
    by: str,
    why: str,
    arguments: Mapping[str, Any] | None,
    queue: str | None,
    rate: float,
) -> dict[str, Any]:
    """Replay all dead letters that match, batch by batch; returns how many, and which could not be.

    Another attempt continues: it leaves out jobs that were enqueued after this one, because those that the attempt
    before has replayed may have failed again, and counts on.

    Args:
        dead_letters: replays them.
        session: that of `dead_letters`; committed after each batch.
        job: reports the progress.
        which: the filter.
        by, why, arguments, queue, rate: see `DeadLetters.replay_some`.
    """
    audit = dead_letters.audit_of(job, which, by, why)
    earlier = await audit.counted()
    so_far = Resolved(done=earlier, until=dt.datetime.fromtimestamp(job.queued / 1000, dt.UTC))
    count, loop = earlier + await dead_letters.count(which), asyncio.get_running_loop()
    while True:
        began, done = loop.time(), so_far.done
        more = await dead_letters.replay_some(
            which, so_far, by=by, why=why, arguments=arguments, queue=queue, rate=rate
        )
        await audit.count(so_far.batch)
        await session.commit()
        await dead_letters.confirm()
        await audit.withdraw(so_far.dropped)
        await session.commit()
        if not more:
            return {"replayed": so_far.done, "refused": so_far.refused}
        await job.update(progress=min(1.0, (so_far.done + len(so_far.refused)) / max(1, count)))
        # The next batch begins when the last job of this one starts.
        await asyncio.sleep(max(0.0, (so_far.done - done) / rate - (loop.time() - began)))


async def replay_dead_letters(
    ctx: Context,
    *,
    which: DeadLetterFilter,
    by: str,
    why: str = "",
    arguments: dict[str, Any] | None = None,
    queue: str | None = None,
    rate: Annotated[float, msgspec.Meta(gt=0)] = 50.0,
    run: Literal["replays"] = "replays",
) -> dict[str, Any]:
    """Replay all dead letters that match, at `rate` jobs a second; reports how many, and which could not be
    replayed.

    One such job waits or runs at a time, or their rates would add up: `run` is the same for all.
    """
    queues = Queues.current()
    if not isinstance(store := queues.store, PostgresStore):
        raise NoJobRecords
    async with store.sessions() as session:
        dead_letters = DeadLetters(session, queues, queues.tasks)
        return await replay_all(
            dead_letters, session, ctx["job"], which, by=by, why=why, arguments=arguments, queue=queue, rate=rate
        )


async def change_jobs(
    ctx: Context,
    *,
    change: Change,
    which: RecordFilter,
    before: dt.datetime,
    by: str,
    why: str = "",
    count: int = 0,
    run: Literal["changes"] = "changes",
) -> dict[str, Any]:
    """Abort, retry or discard all jobs that match; reports how many, and which could not be changed.

    Jobs that were enqueued after `before` are left alone; it is in UTC if it has no offset. Retried are failed and
    aborted jobs, unless the filter names a status, and discarded dead letters. `count` is how many match, for the
    progress. One such job runs at a time: `run` is the same for all.
    """
    queues = Queues.current()
    if not isinstance(store := queues.store, PostgresStore):
        raise NoJobRecords
    tasks, before = queues.tasks, before if before.tzinfo else before.replace(tzinfo=dt.UTC)
    changes = Changes(queues, tasks, store.sessions.begin, ctx["job"], change, which, before, by, why, count)
    try:
        changes.check()
    except QueueError as error:
        raise GiveUp(str(error)) from error
    return await changes.make()


@functools.cache
def _of_queue(queue: str) -> TaskRegistry:
    """The tasks of this module, on a queue."""
    registry = TaskRegistry()
    # The arguments may contain new values for those that a task redacts. The duration depends on the rate.
    one = Unique(by=("run",), on_conflict="raise")
    registry.task(timeout=0, durable=True, redact=("arguments",), unique=one, queue=queue)(replay_dead_letters)
    # Another attempt changes nothing twice.
    registry.task(timeout=0, durable=True, retries=3, retry_delay=5.0, unique=one, queue=queue)(change_jobs)
    return registry


class WithBuiltIn(TaskRegistry):
    """The tasks of an application, and those of this module whose names it does not use.

    They are not in the application's registry, which several applications of a process can share: each has its own
    queue for them, and an application without PostgreSQL does not have these tasks.

    Args:
        own: the application's; what is registered here is registered there.
        queue: of the tasks of this module.
    """

    def __init__(self, own: TaskRegistry, queue: str) -> None:
        self._own = own
        self._built_in = _of_queue(queue)

    def get(self, name: str) -> Task[..., Any]:
        """The task of that name."""
        try:
            return self._own.get(name)
        except UnknownTask:
            if name not in self._built_in:
                raise
            return self._built_in.get(name)

    def get_all_tasks(self) -> list[Task[..., Any]]:
        """All tasks; those of this module last."""
        built_in = self._built_in.get_all_tasks()
        return [*self._own.get_all_tasks(), *(task for task in built_in if task.name not in self._own)]

    def get_all_scheduled_tasks(self, queue: str | None = None) -> list[CronJob[Context]]:
        """The crons; this module has none."""
        return self._own.get_all_scheduled_tasks(queue)

    def add(self, task: Task[..., Any]) -> None:
        """Register a task of the application."""
        self._own.add(task)

    def add_controller(self, controller: type[C]) -> type[C]:
        """Register the tasks of a controller of the application."""
        return self._own.add_controller(controller)

    def check_schedule_keys(self, task: Task[..., Any]) -> None:
        """Raise when another task has a schedule of the same key."""
        self._own.check_schedule_keys(task)

    def clear(self) -> None:
        """Forget the tasks of the application."""
        self._own.clear()

    @contextmanager
    def isolated(self) -> Iterator[TaskRegistry]:
        """Without the tasks of the application for the time of a block."""
        with self._own.isolated():
            yield self

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._built_in

    def __len__(self) -> int:
        return len(self.get_all_tasks())
