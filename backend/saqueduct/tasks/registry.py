"""@task, @scheduled_task, and the registry that they fill when their module is imported.

@task(retries=3, retry_delay=5.0)
async def send_invoice(ctx: Context, *, invoice_id: int) -> None: ...

@scheduled_task(cron="0 3 * * *", kwargs={"days": 7})
async def cleanup(ctx: Context, *, days: int = 30) -> dict[str, int]: ...
"""

import datetime as dt
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, overload

from saq.job import CronJob
from saq.types import Context

from saqueduct.common.functions import at_one_place
from saqueduct.errors import DuplicateTask, RegistrationError, UnknownTask
from saqueduct.schedules.schedule import CatchUp, Overlap, Schedule
from saqueduct.tasks.controllers import (
    AsyncMethod,
    ControllerMethod,
    OfController,
    SyncMethod,
    TaskController,
    registered,
    tasks_of,
)
from saqueduct.tasks.decorators import ScheduleDecorator, TaskDecorator, decorated, schedule_of
from saqueduct.tasks.options import TaskSettings
from saqueduct.tasks.shared_limits import check_shared_limits
from saqueduct.tasks.task import AsyncTask, SyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=TaskController)


class TaskRegistry:
    """Tasks by name, in the order of registration. The decorators of `saqueduct` fill a default one.

    A `TasksRegistry`, which `make catalog` writes in an application, is something else: it calls these tasks from
    blocking code.

    registry = TaskRegistry()

    @registry.task(retries=3)
    async def send_invoice(ctx: Context, *, invoice_id: int) -> None: ...
    """

    def __init__(self) -> None:
        self._tasks: dict[str, Task[..., Any]] = {}

    def add(self, task: Task[..., Any]) -> None:
        """Register a task; the same task again (a reloaded module) replaces the first, see `Task.is_same`.

        Raises:
            DuplicateTask: another function has that name, or the same function has other options or schedules.
            RegistrationError: another task has a schedule with the same key, or a limit with the same name that
                differs, see `check_shared_limits`.
        """
        first = self._tasks.get(task.name)
        if first is not None and not task.is_same(first):
            raise DuplicateTask(task.function, task.name, first.function)
        self.check_schedule_keys(task)
        check_shared_limits(task, self._tasks.values())
        self._tasks[task.name] = task

    def check_schedule_keys(self, task: Task[..., Any]) -> None:
        """Raise if another task has a schedule with the same key.

        Raises:
            RegistrationError: names both.
        """
        keys = {schedule.key for schedule in task.schedules}
        for other in self._tasks.values():
            if other.name != task.name and (same := keys & {schedule.key for schedule in other.schedules}):
                raise RegistrationError(
                    task.function, f"a schedule of {other.where} has the key {same.pop()!r} already; give another key="
                )

    def get(self, name: str) -> Task[..., Any]:
        """The task of that name.

        Raises:
            UnknownTask: it does not exist; the error contains similar names.
        """
        try:
            return self._tasks[name]
        except KeyError:
            raise UnknownTask(name, self._tasks) from None

    def get_all_tasks(self) -> list[Task[..., Any]]:
        """All tasks, including scheduled ones."""
        return list(self._tasks.values())

    def get_all_scheduled_tasks(self, queue: str | None = None) -> list[CronJob[Context]]:
        """All crons, or those of one queue, as SAQ CronJobs; `function.__qualname__` is the task's name.

        SAQ has no intervals; `Task.schedules` contains those too.
        """
        tasks = [task for task in self._tasks.values() if queue in (None, task.queue_name)]
        return [cron for task in tasks for cron in task.cron_jobs()]

    def clear(self) -> None:
        """Forget all tasks (for tests; see also `isolated`)."""
        self._tasks.clear()

    @contextmanager
    def isolated(self) -> Iterator["TaskRegistry"]:
        """Empty the registry for the duration of a block; the previous tasks are restored afterwards.

        with get_registry().isolated() as registry:
            @task
            async def probe(ctx: Context) -> None: ...
            assert [task.name for task in registry.get_all_tasks()] == ["probe"]
        """
        before, self._tasks = self._tasks, {}
        try:
            yield self
        finally:
            self._tasks = before

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def __len__(self) -> int:
        return len(self._tasks)

    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> SyncTask[P, R]: ...
    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[C, Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncMethod[P, R]: ...
    @overload
    def task(self, function: Callable[Concatenate[C, Context, P], R], /) -> SyncMethod[P, R]: ...
    @overload
    def task(self, /, *, name: str | None = None, **options: Unpack[TaskSettings]) -> TaskDecorator: ...
    def task(self, function: Callable[..., Any] | None = None, /, *, name: str | None = None, **options: Any) -> Any:
        """Register a function as a task; with or without options.

        Args:
            function: `async def` or `def`, first parameter `ctx`; may have other decorators, or be a method of a
                `TaskController`. An awaitable that a `def` returns is awaited.
            name: the task's name; by default the name of the function.
            options: see `TaskOptions`.

        Raises:
            RegistrationError: the name is taken, or the signature or an option is invalid; names file and line.
        """
        if function is not None:
            return self._register(function, name, options, None)
        return lambda decorated: self._register(decorated, name, options, None)

    def scheduled_task(
        self,
        *,
        cron: str | None = None,
        every: float | dt.timedelta | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        key: str = "",
        timezone: str | None = None,
        catch_up: CatchUp = "once",
        overlap: Overlap = "skip",
        monitor: str = "",
        name: str | None = None,
        **options: Unpack[TaskSettings],
    ) -> ScheduleDecorator:
        """Register a function as a task that also runs on a schedule; on a task, add a schedule to it.

            @scheduled_task(cron="0 9 * * mon", key="weekly", kwargs={"days": 7})
            @scheduled_task(cron=crontab(minute=0, hour=3), timezone="Europe/Berlin", timeout=600)
            async def report(ctx: Context, *, days: int = 1) -> None: ...

        Args:
            cron: cron expression; see `Schedule` for this and the next four.
            every: seconds, or a `timedelta`, between two ticks, instead of `cron`.
            args: positional arguments of the scheduled jobs.
            kwargs: their arguments by name, overriding the function's defaults; a job enqueued by hand gets its
                arguments from the call.
            key: name of the schedule; by default the name of the task.
            timezone: IANA name of the time zone of `cron`.
            catch_up: what to do with ticks that were missed while no worker ran.
            overlap: what to do with a tick while the previous job has not ended.
            monitor: URL that is pinged at the start and the end of each of its jobs.
            name: the task's name; by default the name of the function.
            options: see `TaskOptions`.

        Raises:
            RegistrationError: as for `task`, and for an invalid schedule, kwargs that do not fit, a key that another
                schedule has, and for a name or options on a function that is already a task.
        """

        given: dict[str, Any] = dict(options)

        def decorate(function: Any) -> Any:
            schedule = schedule_of(
                function, given, cron, every, args, kwargs, key, timezone, catch_up, overlap, monitor
            )
            if isinstance(function, Task | ControllerMethod):
                return self._add_schedule(function, schedule, {"name": name, **given} if name else given)
            return self._register(function, name, given, schedule)

        return decorate

    def add_controller(self, controller: type[C]) -> type[C]:
        """Register the tasks of a controller, all or none; a second call changes nothing.

        Returns:
            The same class, so that this can be used as a decorator.

        Raises:
            RegistrationError: it is not a controller, a method cannot be a task, or the name of a task or the key of a
                schedule is taken; names file and line.
        """
        before = dict(self._tasks)
        try:
            for each in tasks_of(controller):
                self._check_prefix(each, controller)
                self.add(each)
        except RegistrationError:
            self._tasks = before
            raise
        registered(controller)
        return controller

    def _check_prefix(self, task: Task[..., Any], controller: type[TaskController]) -> None:
        first: object = self._tasks.get(task.name)
        if isinstance(first, OfController) and not task.is_same(first) and at_one_place(first.function, task.function):
            both = f"{first.controller.__qualname__} and {controller.__qualname__}"
            raise RegistrationError(
                task.function,
                f'{both} have the task {task.name!r} of one base: give one of them a prefix, `prefix = "..."`',
            )

    def _register(
        self, function: Callable[..., Any], name: str | None, options: dict[str, Any], schedule: Schedule | None
    ) -> Task[..., Any] | ControllerMethod[..., Any]:
        made = decorated(function, name, options, schedule)
        if isinstance(made, Task):
            self.add(made)
        return made

    def _add_schedule(
        self, function: Task[..., Any] | ControllerMethod[..., Any], schedule: Schedule, options: dict[str, Any]
    ) -> Task[..., Any] | ControllerMethod[..., Any]:
        if options:
            raise RegistrationError(
                function.function,
                f"is a task already; give {', '.join(options)} to the decorator next to the function",
            )
        if isinstance(function, ControllerMethod):
            return function.with_schedule(schedule)
        before = function.schedules
        function.add_schedule(schedule)
        try:
            self.check_schedule_keys(function)
        except RegistrationError:
            function.schedules = before
            raise
        return function


_registry = TaskRegistry()

task = _registry.task
"""`TaskRegistry.task` of the default registry."""

scheduled_task = _registry.scheduled_task
"""`TaskRegistry.scheduled_task` of the default registry."""


def get_registry() -> TaskRegistry:
    """The default registry, which the decorators of `saqueduct` fill."""
    return _registry
