"""Injector: what tasks are injected from. The engine knows only this protocol; dishka and Litestar implement it.

A job's scope opens before its function runs and closes after it. A dependency that commits or rolls back does so when
the scope closes, and an error there fails the job. A direct call of a task's function gets its own scope in the same
way.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from saqueduct.errors import ConfigurationError

REMEDIES = (
    "declare a JSON type, to pass them with each call, or provide them: by name, "
    "`SaqueductConfig(dependencies={...: Provide(...)})`, or by type, `SaqueductConfig(container=...)` of dishka"
)
"""The remedy when parameters are not provided."""


class Injector(Protocol):
    """Makes the injected parameters of tasks."""

    @property
    def container(self) -> Any:
        """The container of dishka that it takes dependencies from; None without one."""
        ...

    def provides(self, name: str, type_: Any) -> bool:
        """True when it can make a parameter with that name and type in the scope of a job."""
        ...

    def claims(self, name: str) -> bool:
        """True when the configuration declares a dependency of that name for tasks."""
        ...

    def scope(self, injected: Mapping[str, Any], /) -> AbstractAsyncContextManager[dict[str, Any]]:
        """One scope: yields name -> instance, and closes what it has made, as a failure if the block raises.

        Args:
            injected: name -> type.
        """
        ...

    def remedy(self, name: str, type_: Any) -> str:
        """How to provide a missing parameter, as readable text."""
        ...

    async def close(self) -> None:
        """Close what outlives a job."""
        ...


class Injectable(Protocol):
    """A task, as far as injection is concerned."""

    @property
    def name(self) -> str: ...
    @property
    def where(self) -> str: ...
    @property
    def injected(self) -> Mapping[str, Any]: ...
    @property
    def passed(self) -> Mapping[str, Any]:
        """The parameters that each call passes, name -> type."""
        ...


def check_dependencies(injector: Injector | None, tasks: Iterable[Injectable]) -> None:
    """Raise unless every injected parameter of every task is provided, and nothing else has the name of a dependency.

    Args:
        injector: None: nothing is provided.
        tasks: of the process.

    Raises:
        ConfigurationError: names file, line, task, parameter and type, and the remedies.
    """
    tasks = list(tasks)
    missing = [
        f"{task.where}: {task.name}: {name}: {type_name(type_)}{_remedy(injector, name, type_)}"
        for task in tasks
        for name, type_ in task.injected.items()
        if injector is None or not injector.provides(name, type_)
    ]
    if missing:
        raise ConfigurationError(
            f"these parameters are neither JSON nor provided; {REMEDIES}:\n  " + "\n  ".join(missing)
        )
    ambiguous = [
        f"{task.where}: {task.name}: {name}: {type_name(type_)}"
        for task in tasks
        for name, type_ in task.passed.items()
        if injector is not None and injector.claims(name)
    ]
    if ambiguous:
        raise ConfigurationError(
            "these parameters have names of `dependencies`, but each call passes them, because JSON can carry them; "
            "give them the default INJECTED to have them injected, or other names:\n  " + "\n  ".join(ambiguous)
        )


def type_name(type_: Any) -> str:
    """A type, as readable text."""
    return str(getattr(type_, "__qualname__", type_))


def _remedy(injector: Injector | None, name: str, type_: Any) -> str:
    return "" if injector is None else f": {injector.remedy(name, type_)}"
