"""What the decorators `task` and `scheduled_task` return for a function or a method, and their types."""

import datetime as dt
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from saq.types import Context

from saqueduct.common.functions import unfit
from saqueduct.common.text import check_text
from saqueduct.errors import RegistrationError
from saqueduct.schedules.schedule import CatchUp, Overlap, Schedule
from saqueduct.tasks.controller_functions import is_method
from saqueduct.tasks.controllers import AsyncMethod, ControllerMethod, SyncMethod, TaskController
from saqueduct.tasks.option_names import TASK_EQUALS, unknown_option
from saqueduct.tasks.options import TaskOptions, TaskSettings
from saqueduct.tasks.task import AsyncTask, SyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=TaskController)
T = TypeVar("T", bound=Task[..., Any] | ControllerMethod[..., Any])

LONGEST_NAME = 400
"""Maximum characters of a task's name, which is also the key of its schedule and part of its jobs' claims."""


class TaskDecorator(Protocol):
    """What `@task(...)` with options returns."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a coroutine function fits both, the first wins
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> SyncTask[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[C, Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncMethod[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[C, Context, P], R], /) -> SyncMethod[P, R]: ...


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
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[C, Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncMethod[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[C, Context, P], R], /) -> SyncMethod[P, R]: ...


def decorated(
    function: Callable[..., Any], name: str | None, options: dict[str, Any], schedule: Schedule | None
) -> Task[..., Any] | ControllerMethod[..., Any]:
    """The task of a function, or the method of a controller, whose tasks are created when it is registered.

    Raises:
        RegistrationError: it cannot be a task, or a name or an option is invalid.
    """
    if isinstance(function, Task | ControllerMethod):
        raise RegistrationError(function.function, f"is a task already, named {function.name!r}")
    if problem := unfit(function) or unknown_option(options, TaskSettings.__annotations__, TASK_EQUALS):
        raise RegistrationError(function, problem)
    if name is None and function.__name__ == "<lambda>":
        raise RegistrationError(function, "a lambda has no name: give name='...', or write a `def`")
    try:
        _check_name(name)
        settled = TaskOptions(**options)
    except (TypeError, ValueError) as error:
        raise RegistrationError(function, str(error)) from None
    is_async = inspect.iscoroutinefunction(function)
    if is_method(function):
        method = AsyncMethod if is_async else SyncMethod
        return method(function, name, settled, schedule)
    return (AsyncTask if is_async else SyncTask)(function, name=name, options=settled, schedule=schedule)


def schedule_of(
    function: Any,
    options: Mapping[str, Any],
    cron: str | None,
    every: float | dt.timedelta | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    key: str,
    timezone: str | None,
    catch_up: CatchUp,
    overlap: Overlap,
    monitor: str,
) -> Schedule:
    """The schedule that `@scheduled_task(...)` declares; see `TaskRegistry.scheduled_task`.

    Raises:
        RegistrationError: it is invalid, or an option is unknown.
    """
    if problem := unknown_option(dict(options), TaskSettings.__annotations__, TASK_EQUALS):
        raise RegistrationError(function, problem)
    try:
        return Schedule(cron, _by_name(kwargs), every, key, timezone, catch_up, overlap, _positional(args), monitor)
    except ValueError as error:
        raise RegistrationError(function, str(error)) from None


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
