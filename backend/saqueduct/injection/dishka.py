"""Injection by type from a container of dishka. The only module of the library that imports dishka."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

try:
    from dishka import DEFAULT_COMPONENT, AsyncContainer, DependencyKey, FromDishka, Scope
    from dishka.entities.key import hint_to_dependency_key
    from dishka.exceptions import ExitError
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("dishka is not installed: pip install 'saqueduct[dishka]'", name="dishka") from error

from saqueduct.injection.injector import type_name

__all__ = ["DishkaInjector", "FromDishka"]


class DishkaInjector:
    """Takes what tasks have injected from a container, by type; each job gets its own scope (`Scope.REQUEST`).

    Args:
        container: of the process.
    """

    def __init__(self, container: AsyncContainer) -> None:
        self._container = container

    @property
    def container(self) -> AsyncContainer:
        return self._container

    def provides(self, name: str, type_: Any) -> bool:
        key = _key(type_)
        registries = [self._container.registry, *_children(self._container)]
        return any(registry.get_factory(key) is not None for registry in registries)

    def claims(self, name: str) -> bool:
        return False

    @asynccontextmanager
    async def scope(self, injected: Mapping[str, Any], /) -> AsyncIterator[dict[str, Any]]:
        """One scope of the container.

        Raises:
            Exception: what the block raised, or the error of a dependency that could not be closed; several of them as
                a group.
        """
        try:
            async with self._container(scope=Scope.REQUEST) as scope:
                yield {name: await _made(scope, type_) for name, type_ in injected.items()}
        except ExitError as error:
            raise _only_one(error) from error

    def remedy(self, name: str, type_: Any) -> str:
        return f"add a provider of {type_name(type_)} to the container"

    async def close(self) -> None:
        await self._container.close()


async def _made(scope: AsyncContainer, type_: Any) -> Any:
    if isinstance(type_, type):
        return await scope.get(type_)
    key = _key(type_)
    return await scope.get(key.type_hint, key.component)


def made_by(given: AsyncContainer | Callable[..., AsyncContainer], *arguments: Any) -> tuple[DishkaInjector, bool]:
    """The injector of a container, or of what a function makes with these arguments; True when it was made here."""
    # A container can be called, too.
    if isinstance(given, AsyncContainer):
        return DishkaInjector(given), False
    return DishkaInjector(given(*arguments)), True


def _key(type_: Any) -> DependencyKey:
    key = hint_to_dependency_key(type_)
    return key if key.component is not None else key.with_component(DEFAULT_COMPONENT)


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
