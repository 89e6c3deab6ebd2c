"""The test kit: queries and controls the queue in a test."""

import asyncio
import datetime as dt
import functools
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, Literal, ParamSpec, Self, get_args, overload

from saq import Job

from saqueduct.common import clock
from saqueduct.injection.injector import Injector
from saqueduct.queue.queues import Queues
from saqueduct.tasks.task import Task
from saqueduct.testing.alone import LoneRun
from saqueduct.testing.incomplete import IncompleteJobs
from saqueduct.testing.inline import enqueues_followed_by
from saqueduct.testing.matching import WaitingJob, Wanted, listed, read_waiting
from saqueduct.testing.running import (
    Drained,
    NotDrained,
    counted,
    engine_queues,
    promote,
    run_until_done,
    working,
)
from saqueduct.testing.setup import Setup
from saqueduct.testing.threads import ThreadedQueues, worker_thread
from saqueduct.testing.ticks import schedule_due
from saqueduct.worker.worker import EngineWorker

P = ParamSpec("P")

Mode = Literal["manual", "inline", "real"]
"""What happens to jobs during a test: they stay in the queue; run before enqueue returns; run concurrently with the
test."""

TIMEOUT = 30.0
"""Seconds of real time that jobs get to end by default."""

OUTCOME_TTL = 60
"""Seconds that `run` keeps the outcome of a job that would otherwise not be kept."""


class Journey:
    """Time travel by so many seconds: it has already begun, and lasts until it is ended or its `with` block is left."""

    def __init__(self, seconds: float) -> None:
        self._back = ExitStack()
        self._back.enter_context(clock.shifted(seconds))

    def end(self) -> None:
        """Travel back; a second time changes nothing."""
        self._back.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class JobKit:
    """Queries and controls the queue in a test; the fixture `saqueduct_jobs`.

        await client.post("/users", json=ADA)
        jobs.assert_enqueued(send_welcome_email, user_id=1)
        assert await jobs.drain() == Drained(complete=1)

    Jobs are real ones, in a real Redis, run by real workers. Assertions are plain calls, also in tests without an event
    loop; methods that run jobs are awaited.

    Args:
        setup: how the project builds its queues, injector and workers.
        of_the_test: queues, connected to the event loop of the test, and the injector for jobs that run there; None
            where a test has no event loop.
    """

    def __init__(self, setup: Setup, of_the_test: tuple[Queues, Injector] | None = None) -> None:
        self._setup = setup
        self._of_the_test = of_the_test
        self._loop = next(iter(of_the_test[0])).loop if of_the_test else None
        self._mode: Mode = "manual"
        self._one_at_a_time = asyncio.Lock()
        self._until_the_end = ExitStack()

    # Modes

    @contextmanager
    def mode(self, mode: Mode) -> Iterator[None]:
        """A mode for a block; see `Mode`. Outside of such blocks it is "manual".

        Raises:
            ValueError: there is no such mode.
        """
        if mode not in get_args(Mode):
            raise ValueError(f"there is no mode {mode!r}; there are {', '.join(get_args(Mode))}")
        before, self._mode = self._mode, mode
        try:
            with ExitStack() as stack:
                if mode == "inline":
                    stack.enter_context(enqueues_followed_by(self._follow))
                if mode == "real":
                    stack.enter_context(worker_thread(self._setup))
                yield
        finally:
            self._mode = before

    # What is enqueued

    def all_enqueued(self, task: Task[..., Any] | str | None = None, /, **arguments: Any) -> list[Job]:
        """The jobs that wait, delayed ones too, in the order of their enqueue; not those that run or have ended.

        Args:
            task: only its jobs, and with `task.options(...)` those of these options; None: all.
            arguments: only jobs that have these.

        Raises:
            UnknownTask, InvalidArguments: no job could match.
        """
        return [each.job for each in Wanted(self._named(task), arguments).among(self._waiting())]

    def assert_enqueued(self, task: Task[..., Any] | str, /, **arguments: Any) -> Job:
        """Fail unless a waiting job has these arguments; other arguments are not checked. Returns the first such job.

            jobs.assert_enqueued(send_email, to="ada@example.com")
            jobs.assert_enqueued(send_email.options(queue="mail", delay=60), to="ada@example.com")

        Raises:
            AssertionError: there is none; the message lists what is enqueued instead.
            UnknownTask, InvalidArguments: no job could match.
        """
        __tracebackhide__ = True
        wanted, waiting = Wanted(self._named(task), arguments), self._waiting()
        if found := wanted.among(waiting):
            return found[0].job
        instead = f"enqueued are:\n{wanted.instead(waiting)}" if waiting else "nothing is enqueued"
        raise AssertionError(f"{wanted} is not enqueued; {instead}")

    def refute_enqueued(self, task: Task[..., Any] | str | None = None, /, **arguments: Any) -> None:
        """Fail if a waiting job has these arguments; without a task, if any job waits.

        Raises:
            AssertionError: names the jobs.
            UnknownTask, InvalidArguments: no job could match.
        """
        __tracebackhide__ = True
        wanted = Wanted(self._named(task), arguments)
        if found := wanted.among(self._waiting()):
            raise AssertionError(f"{wanted} is enqueued:\n{listed(found)}")

    # Running

    async def drain(self, *, scheduled: bool = True, limit: int = 1000, timeout: float = TIMEOUT) -> Drained:
        """Run the enqueued jobs, and those that they enqueue, until none is left; returns counts by outcome.

        Delayed jobs and retries do not wait: the queue's clock is advanced to the time they are due, and reset at the
        end.

        Args:
            scheduled: False: leave what is not due yet.
            limit: most attempts of jobs; a guard against jobs that enqueue one another forever.
            timeout: seconds, of real time, that all this may take.

        Raises:
            NotDrained: too many attempts, or too long; or only jobs of paused queues are left.
        """
        async with self._here() as (queues, injector):
            workers = self._setup.workers_for(queues, injector)
            before = counted(workers)

            async def left() -> list[float]:
                _check_limit(counted(workers) - before, limit)
                served = engine_queues(workers)
                due = [due for queue in served for due in await IncompleteJobs(queue).first_due()]
                return due if scheduled else [each for each in due if each <= clock.time_now()]

            await run_until_done(workers, left, timeout)
            return counted(workers) - before

    @overload
    async def run(self, task: Task[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Job: ...
    @overload
    async def run(self, task: str, /, **kwargs: Any) -> Job: ...
    async def run(self, task: Any, /, *args: Any, **kwargs: Any) -> Job:
        """Enqueue a job, run it to its end, retries included, and return it as it ended.

            job = await jobs.run(send_email.options(retries=3), to="ada@example.com", subject="Hi", body="...")
            assert job.status is Status.COMPLETE

        No other job runs: the jobs that it enqueues wait, as in mode "manual".

        Raises:
            UnknownTask, InvalidArguments, PayloadTooLarge: nothing is enqueued.
            NotDrained: it did not end in time.
        """
        found = self._named(task)
        return await self._run(found, found.signature.bind(args, kwargs))

    async def run_tick(self, task: Task[..., Any] | str, /, *, at: dt.datetime) -> Job:
        """Run the job that a task's schedule makes at a due time, with its kwargs; returns it as it ended.

            job = await jobs.run_tick(cleanup, at=datetime(2030, 1, 1, 3, 0, tzinfo=UTC))

        The queue's clock is set to that time meanwhile.

        Raises:
            ValueError: the task has no schedule, or `at` is no tick of it.
            NotDrained: it did not end in time.
        """
        found = self._named(task)
        async with self._here() as (queues, injector):
            timezone = self._setup.worker_for(queues, injector, found.queue_name).cron_tz
        schedule = schedule_due(found, at, timezone)
        with clock.shifted(at.timestamp() - clock.time_now()):
            return await self._run(found, schedule.kwargs)

    @asynccontextmanager
    async def working(self, *, schedules: bool = False) -> AsyncIterator[list[EngineWorker]]:
        """Workers in the event loop of the test during a block; for tests with `await`.

        Args:
            schedules: True: they make the jobs of the schedules, too.
        """
        async with self._here() as (queues, injector):
            workers = self._setup.workers_for(queues, injector, schedules=schedules)
            async with working(workers):
                yield workers

    # Time

    def travel(self, by: float | dt.timedelta) -> Journey:
        """Advance the queue's clock by seconds, until the end of the test or of a `with` block.

        Jobs that become due by this are due immediately. The time that tasks read elsewhere, such as `datetime.now`,
        does not change.
        """
        journey = Journey(by.total_seconds() if isinstance(by, dt.timedelta) else by)
        self._until_the_end.callback(journey.end)
        self._queues_beside.call(promote)
        return journey

    def travel_to(self, moment: dt.datetime) -> Journey:
        """Set the queue's clock to a time; as `travel`.

        Raises:
            ValueError: `moment` is not aware.
        """
        if moment.tzinfo is None:
            raise ValueError(f"give an aware time, such as datetime(2030, 1, 1, tzinfo=UTC), not {moment!r}")
        return self.travel(moment.timestamp() - clock.time_now())

    def close(self) -> None:
        """Travel back, and close what the kit has opened."""
        self._until_the_end.close()

    def _named(self, task: Any) -> Any:
        """The task, given as a task or by name."""
        return self._setup.make_queues().tasks.get(task) if isinstance(task, str) else task

    @functools.cached_property
    def _queues_beside(self) -> ThreadedQueues:
        return self._until_the_end.enter_context(ThreadedQueues(self._setup.make_queues()))

    def _waiting(self) -> list[WaitingJob]:
        return self._queues_beside.call(read_waiting)

    async def _run(self, task: Task[..., Any], arguments: Mapping[str, Any]) -> Job:
        async with self._here() as (queues, injector):
            queue = queues.get(task.queue_name)
            job = task.job(arguments, limit=queue.max_payload_bytes)
            if job.ttl < 0:
                job.ttl = OUTCOME_TTL
            [enqueued] = await queue.enqueue_many([job])
            await self._run_to_the_end(queues, injector, queue.name, [enqueued.key])
            return await queue.fetch(enqueued.key) or job

    async def _follow(self, queue: str, keys: Sequence[str]) -> None:
        """Mode `inline`: run the jobs that were just enqueued, in any event loop."""
        if self._mode == "inline":
            async with self._here() as (queues, injector):
                await self._run_to_the_end(queues, injector, queue, keys)

    async def _run_to_the_end(self, queues: Queues, injector: Injector, queue: str, keys: Sequence[str]) -> None:
        make_worker = functools.partial(self._setup.worker_for, queues, injector, queue)
        for key in keys:
            await LoneRun(make_worker, queues.get(queue), key, self._one_at_a_time).run(TIMEOUT)

    @asynccontextmanager
    async def _here(self) -> AsyncIterator[tuple[Queues, Injector]]:
        """Queues and injector of the running event loop: those of the test, or others that are closed again."""
        if self._of_the_test is not None and self._loop is asyncio.get_running_loop():
            yield self._of_the_test
            return
        async with self._setup.opened() as opened:
            yield opened


def _check_limit(drained: Drained, limit: int) -> None:
    if drained.attempts > limit:
        raise NotDrained(f"more than {limit} attempts of jobs, and no end: {drained}; do jobs enqueue one another?")
