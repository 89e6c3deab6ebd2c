"""TaskController: tasks as methods of a class whose constructor is injected.

class CleanupTasks(TaskController):
    def __init__(self, sessions: SessionService) -> None:
        self._sessions = sessions

    @task(retries=3)
    async def cleanup(self, ctx: Context, *, days_old: int = 30) -> int:
        return await self._sessions.delete_older_than(days_old)

get_registry().add_controller(CleanupTasks)
job = await CleanupTasks.cleanup.enqueue(days_old=7)
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, Self, TypeVar, overload
from weakref import WeakKeyDictionary, WeakSet

from saq.types import Context

from saqueduct.common.functions import module_run
from saqueduct.errors import RegistrationError
from saqueduct.schedules.schedule import Schedule
from saqueduct.tasks.controller_functions import function_of
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.options import TaskOptions
from saqueduct.tasks.signature import MAX_PAYLOAD_BYTES
from saqueduct.tasks.task import AsyncTask, SyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")


class TaskController:
    """Base of classes whose methods are tasks.

    Each job creates one instance, in its own scope: the parameters of the constructor are injected, those of the method
    come from the job. A parameter of the constructor that has a default keeps it. `CleanupTasks.cleanup` is the task,
    with `enqueue` and everything else. On an instance that you create, `CleanupTasks(sessions).cleanup(ctx)`, it is the
    plain method.

    Register a class with `registry.add_controller(CleanupTasks)`, or with `task_controllers` of `SaqueductConfig`. It
    inherits the tasks of its bases; decorate a method that overrides a task, or set it to None to remove the task.
    """

    prefix: ClassVar[str] = ""
    """Prepended to the names of the tasks and the keys of their schedules, so that subclasses can share a base."""


_registered: "WeakSet[type[TaskController]]" = WeakSet()


def registered(controller: type[TaskController]) -> None:
    """Allow the tasks of a controller to create jobs."""
    _registered.add(controller)


class ControllerMethod(Generic[P, R]):
    """A decorated method of a controller: the task when accessed on the class, the method when accessed on an instance.

    Args:
        function: the method.
        name: the task's name without the prefix; by default the name of the method.
        options: the task's options.
        schedule: when the task runs automatically.
    """

    def __init__(
        self, function: Callable[..., Any], name: str | None, options: TaskOptions, schedule: Schedule | None
    ) -> None:
        self.function = function
        self.name = name or function.__name__
        self._module_run = module_run()
        self._options = options
        self._schedules = () if schedule is None else (schedule,)
        self._tasks: WeakKeyDictionary[type, Task[..., Any]] = WeakKeyDictionary()
        functools.update_wrapper(self, function)  # type: ignore[arg-type]

    def __set_name__(self, owner: type, name: str) -> None:
        if not issubclass(owner, TaskController):
            raise RegistrationError(
                self.function, f"is a task in the class {owner.__qualname__}, which is not a controller: derive it "
                "from `TaskController`, or decorate a function outside of the class",
            )  # fmt: skip

    def with_schedule(self, schedule: Schedule) -> Self:
        """Add a schedule to the task."""
        self._schedules = (*self._schedules, schedule)
        return self

    def of(self, controller: type[TaskController]) -> Task[..., Any]:
        """The task of a controller.

        Raises:
            RegistrationError: the method or the controller's constructor does not fit a task.
        """
        if (task := self._tasks.get(controller)) is None:
            task = self._tasks[controller] = self._make(controller)
        return task

    def _make(self, controller: type[TaskController]) -> Task[..., Any]:
        function = function_of(controller, self.function)
        kind = AsyncControllerTask if inspect.iscoroutinefunction(self.function) else SyncControllerTask
        task: Task[..., Any] = kind(function, controller, name=controller.prefix + self.name, options=self._options)
        task._module_run = self._module_run
        for each in self._schedules:
            key = controller.prefix + each.key if each.key else ""
            task.add_schedule(dataclasses.replace(each, key=key))
        return task


class AsyncMethod(ControllerMethod[P, R]):
    """A task made of an `async def` method."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type[TaskController]) -> AsyncTask[P, R]: ...
        @overload
        def __get__(
            self, instance: TaskController, owner: type[TaskController]
        ) -> Callable[Concatenate[Context, P], Coroutine[Any, Any, R]]: ...

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self.of(owner) if instance is None else self.function.__get__(instance, owner)


class SyncMethod(ControllerMethod[P, R]):
    """A task made of a `def` method."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type[TaskController]) -> SyncTask[P, R]: ...
        @overload
        def __get__(
            self, instance: TaskController, owner: type[TaskController]
        ) -> Callable[Concatenate[Context, P], R]: ...

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self.of(owner) if instance is None else self.function.__get__(instance, owner)


class OfController(TaskDefinition):
    """What tasks of a controller have in addition to other tasks."""

    controller: type[TaskController]

    def is_same(self, first: TaskDefinition) -> bool:
        if not isinstance(first, OfController) or not super().is_same(first):
            return False
        return _path(self.controller) == _path(first.controller)

    def job(self, arguments: Mapping[str, Any], *, limit: int = MAX_PAYLOAD_BYTES, **fields: Any) -> EngineJob:
        if self.controller not in _registered:
            name = self.controller.__qualname__
            raise RegistrationError(
                self.function,
                f"the controller is not registered: `get_registry().add_controller({name})`, "
                f"or `SaqueductConfig(task_controllers=[{name}])`",
            )
        return super().job(arguments, limit=limit, **fields)


class AsyncControllerTask(OfController, AsyncTask[P, R]):
    """A task made of an `async def` method of a controller."""

    def __init__(self, function: Callable[..., Any], controller: type[TaskController], **options: Any) -> None:
        self.controller = controller
        super().__init__(function, **options)


class SyncControllerTask(OfController, SyncTask[P, R]):
    """A task made of a `def` method of a controller."""

    def __init__(self, function: Callable[..., Any], controller: type[TaskController], **options: Any) -> None:
        self.controller = controller
        super().__init__(function, **options)


def tasks_of(controller: Any) -> list[Task[..., Any]]:
    """The tasks of a controller, those of its bases first.

    Raises:
        RegistrationError: it is not a controller, is abstract, has no tasks, or a method cannot be a task.
    """
    if not inspect.isclass(controller) or not issubclass(controller, TaskController):
        raise RegistrationError(controller, "is no controller: give a class that is derived from `TaskController`")
    if inspect.isabstract(controller):
        missing = ", ".join(sorted(vars(controller)["__abstractmethods__"]))
        raise RegistrationError(controller, f"is abstract (without {missing}): register the classes derived from it")
    methods: dict[str, ControllerMethod[..., Any]] = {}
    for base in reversed(controller.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, ControllerMethod):
                methods[name] = value
            elif name in methods:
                _check_override(methods.pop(name), value)
    if not methods:
        raise RegistrationError(controller, "has no tasks: decorate its methods with `@task` or `@scheduled_task`")
    return [method.of(controller) for method in methods.values()]


def _check_override(method: ControllerMethod[..., Any], value: Any) -> None:
    if value is not None:
        raise RegistrationError(
            value if callable(value) else method.function,
            f"overrides the task {method.function.__qualname__} and is no task: decorate it too, "
            f"or write `{method.function.__name__} = None` to leave the task out",
        )


def _path(controller: type) -> tuple[str, str]:
    return controller.__module__, controller.__qualname__
