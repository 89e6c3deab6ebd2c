"""Injection: one container scope a job, parameters resolved by type.

The container is dishka's. A job's scope opens before its function runs and closes after it: a dependency that
commits or rolls back does so at the close, and an error there fails the job. A direct call of a task's function gets
a scope of its own in the same way.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from dishka import AsyncContainer, DependencyKey, Scope
from dishka.exceptions import ExitError

from saqueduct.errors import ConfigurationError
from saqueduct.tasks.definition import TaskDefinition


@asynccontextmanager
async def job_scope(container: AsyncContainer, injected: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Open one scope and yield the injected parameters, name -> instance.

    Raises:
        Exception: what the body raised, or the error of a dependency that could not be closed; of several a group.
    """
    try:
        async with container(scope=Scope.REQUEST) as scope:
            yield {name: await scope.get(type_) for name, type_ in injected.items()}
    except ExitError as error:
        raise _only_one(error) from error


def check_dependencies(container: AsyncContainer, tasks: Iterable[TaskDefinition]) -> None:
    """Raise unless the container provides every injected parameter of every task.

    Raises:
        ConfigurationError: names each task, parameter and type, and the two ways out.
    """
    missing = [
        f"{task.where}: {task.name}: {name}: {getattr(type_, '__qualname__', type_)}"
        for task in tasks
        for name, type_ in task.signature.injected.items()
        if not provides(container, type_)
    ]
    if missing:
        raise ConfigurationError(
            "these parameters are neither JSON nor provided by the container "
            "(declare a JSON type, or add a provider in app/container.py):\n  " + "\n  ".join(missing)
        )


def provides(container: AsyncContainer, type_: Any) -> bool:
    """True when the container can make `type_` in a job's scope."""
    key = DependencyKey(type_, "")
    registries = [container.registry, *_children(container)]
    return any(registry.get_factory(key) is not None for registry in registries)


def _children(container: AsyncContainer) -> list[Any]:
    registries = []
    registry = container.registry.child_registry
    while registry is not None:
        registries.append(registry)
        if registry.scope is Scope.REQUEST:
            break
        registry = registry.child_registry
    return registries


def _only_one(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
