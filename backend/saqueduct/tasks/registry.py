"""@task, @scheduled_task, and the registry that they fill when a module is imported.

@task(retries=3, retry_delay=5.0)
async def send_invoice(ctx: Context, *, invoice_id: int) -> None: ...

@scheduled_task(cron="0 3 * * *", kwargs={"days": 7})
async def cleanup(ctx: Context, *, days: int = 30) -> dict[str, int]: ...
"""

import datetime as dt
import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, Unpack, overload

from saq.job import CronJob
from saq.types import Context

from saqueduct.common.functions import unfit
from saqueduct.common.text import check_text
from saqueduct.errors import DuplicateTask, RegistrationError, UnknownTask
from saqueduct.schedules.schedule import CatchUp, Overlap, Schedule
from saqueduct.tasks.option_names import TASK_EQUALS, unknown_option
from saqueduct.tasks.options import TaskOptions, TaskSettings
from saqueduct.tasks.task import AsyncTask, SyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=Task[..., Any])


LONGEST_NAME = 400
"""Characters of a task's name, which is the key of its schedule, and a part of the claims of its jobs."""


class TaskRegistry:
    """The tasks of this process, by name, in the order of registration."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[..., Any]] = {}

    def add(self, task: Task[..., Any]) -> None:
        """Register a task; the same one again (a reloaded module) replaces itself, see `Task.is_same`.

        Raises:
            DuplicateTask: another function has that name, or the same function with other options or schedules.
            RegistrationError: another task has a schedule of the same key.
        """
        first = self._tasks.get(task.name)
        if first is not None and not task.is_same(first):
            raise DuplicateTask(task.function, task.name, first.function)
        self.check_schedule_keys(task)
        self._tasks[task.name] = task

    def check_schedule_keys(self, task: Task[..., Any]) -> None:
        """Raise when another task has a schedule of the same key.

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
            UnknownTask: there is none; the error holds similar names.
        """
        try:
            return self._tasks[name]
        except KeyError:
            raise UnknownTask(name, self._tasks) from None

    def get_all_tasks(self) -> list[Task[..., Any]]:
        """All tasks, the scheduled ones too."""
        return list(self._tasks.values())

    def get_all_scheduled_tasks(self, queue: str | None = None) -> list[CronJob[Context]]:
        """The crons, all or a queue's, as SAQ CronJobs; `function.__qualname__` is the task's name.

        SAQ knows no intervals; `Task.schedules` holds those, too.
        """
        tasks = [task for task in self._tasks.values() if queue in (None, task.queue_name)]
        return [cron for task in tasks for cron in task.cron_jobs()]

    def clear(self) -> None:
        """Forget all tasks (for tests; see also `isolated`)."""
        self._tasks.clear()

    @contextmanager
    def isolated(self) -> Iterator["TaskRegistry"]:
        """An empty registry for the time of a block; the tasks from before are there again afterwards.

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


_registry = TaskRegistry()


def get_registry() -> TaskRegistry:
    """The registry that the decorators fill."""
    return _registry


class TaskDecorator(Protocol):
    """What `@task(...)` with options returns."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a coroutine function fits both, the first wins
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> SyncTask[P, R]: ...


class ScheduleDecorator(Protocol):
    """What `@scheduled_task(...)` returns."""

    @overload
    def __call__(self, function: T, /) -> T: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> SyncTask[P, R]: ...


@overload
def task(  # type: ignore[overload-overlap]
    function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
) -> AsyncTask[P, R]: ...
@overload
def task(function: Callable[Concatenate[Context, P], R], /) -> SyncTask[P, R]: ...
@overload
def task(*, name: str | None = None, **options: Unpack[TaskSettings]) -> TaskDecorator: ...
def task(function: Callable[..., Any] | None = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Register a function as a task; bare or with options.

    Args:
        function: `async def` or `def`, first parameter `ctx`; also one below another decorator. What a `def` returns
            is awaited where it can be.
        name: the task's name; the function's by default.
        options: see `TaskOptions`.

    Raises:
        RegistrationError: name taken, signature or option unfit; names file and line.
    """
    if function is not None:
        return _register(function, name, options, None)
    return lambda decorated: _register(decorated, name, options, None)


def scheduled_task(
    *,
    cron: str | None = None,
    every: float | dt.timedelta | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    key: str = "",
    timezone: str | None = None,
    catch_up: CatchUp = "once",
    overlap: Overlap = "skip",
    name: str | None = None,
    **options: Unpack[TaskSettings],
) -> ScheduleDecorator:
    """Register a function as a task that also runs by itself; on a task, add a schedule to it.

        @scheduled_task(cron="0 9 * * mon", key="weekly", kwargs={"days": 7})
        @scheduled_task(cron=crontab(minute=0, hour=3), timezone="Europe/Berlin", timeout=600)
        async def report(ctx: Context, *, days: int = 1) -> None: ...

    Args:
        cron, every, key, timezone, catch_up, overlap: see `Schedule`.
        args, kwargs: arguments of the scheduled jobs by position and by name, overriding the function's defaults; a
            job enqueued by hand takes its arguments from the call.
        name: the task's name; the function's by default.
        options: see `TaskOptions`.

    Raises:
        RegistrationError: as for `task`, and for an invalid schedule, kwargs that do not fit, a key that another
            schedule has, and for a name or options on a function that is a task already.
    """

    def decorate(function: Any) -> Any:
        if problem := unknown_option(options, TaskSettings.__annotations__, TASK_EQUALS):
            raise RegistrationError(function, problem)
        try:
            schedule = Schedule(cron, _by_name(kwargs), every, key, timezone, catch_up, overlap, _positional(args))
        except ValueError as error:
            raise RegistrationError(function, str(error)) from None
        if isinstance(function, Task):
            return _add_schedule(function, schedule, {"name": name, **options} if name else dict(options))
        return _register(function, name, dict(options), schedule)

    return decorate


def _positional(args: Any) -> tuple[Any, ...]:
    if isinstance(args, str | bytes | Mapping) or not isinstance(args, Iterable):
        raise ValueError(f"args takes a list of arguments by position, such as args=[30], not {args!r}")
    return tuple(args)


def _by_name(kwargs: Any) -> dict[str, Any]:
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise ValueError(f"kwargs takes arguments by name, such as kwargs={{'days': 7}}, not {kwargs!r}")
    return dict(kwargs or {})


def _check_name(name: Any) -> None:
    if name is None:
        return
    if not isinstance(name, str) or not name:
        raise ValueError(f"name takes a text, such as name='send_email', not {name!r}")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"name: {name[:40]!r}... has {len(name)} characters; it has {LONGEST_NAME} at most")
    check_text("name", name)


def _add_schedule(task: Task[..., Any], schedule: Schedule, options: dict[str, Any]) -> Task[..., Any]:
    if options:
        raise RegistrationError(
            task.function, f"is a task already; give {', '.join(options)} to the decorator next to the function"
        )
    before = task.schedules
    task.add_schedule(schedule)
    try:
        _registry.check_schedule_keys(task)
    except RegistrationError:
        task.schedules = before
        raise
    return task


def _register(
    function: Callable[..., Any], name: str | None, options: dict[str, Any], schedule: Schedule | None
) -> Task[..., Any]:
    if isinstance(function, Task):
        raise RegistrationError(function.function, f"is a task already, named {function.name!r}")
    if problem := unfit(function) or unknown_option(options, TaskSettings.__annotations__, TASK_EQUALS):
        raise RegistrationError(function, problem)
    try:
        _check_name(name)
        settled = TaskOptions(**options)
    except (TypeError, ValueError) as error:
        raise RegistrationError(function, str(error)) from None
    kind = AsyncTask if inspect.iscoroutinefunction(function) else SyncTask
    registered: Task[..., Any] = kind(function, name=name, options=settled, schedule=schedule)
    _registry.add(registered)
    return registered
