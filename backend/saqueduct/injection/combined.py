"""Several injectors as one: a dishka container together with dependencies of Litestar."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from saqueduct.injection.injector import Injector

Parts = list[tuple[Injector, Mapping[str, Any]]]
"""Injectors, with the parameters that each provides."""


class CombinedInjector:
    """Takes each parameter from the first injector that provides it.

    Args:
        injectors: their scopes open in this order and close in the reverse order.
    """

    def __init__(self, *injectors: Injector) -> None:
        self._injectors = injectors
        self._known: dict[tuple[tuple[str, Any], ...], Parts] = {}

    @property
    def container(self) -> Any:
        return next((each.container for each in self._injectors if each.container is not None), None)

    def provides(self, name: str, type_: Any) -> bool:
        return any(each.provides(name, type_) for each in self._injectors)

    def claims(self, name: str) -> bool:
        return any(each.claims(name) for each in self._injectors)

    def scope(self, injected: Mapping[str, Any], /) -> AbstractAsyncContextManager[dict[str, Any]]:
        parts = self._parts(injected)
        if len(parts) == 1:
            [(injector, _)] = parts
            return injector.scope(injected)
        return _scopes(parts)

    def remedy(self, name: str, type_: Any) -> str:
        return ", or ".join(each.remedy(name, type_) for each in self._injectors)

    async def close(self) -> None:
        async with AsyncExitStack() as stack:
            for each in self._injectors:
                stack.push_async_callback(each.close)

    def _parts(self, injected: Mapping[str, Any]) -> Parts:
        """Which injector provides what; a parameter without a provider goes to the last injector, which reports the
        error."""
        wanted = tuple(injected.items())
        if (parts := self._known.get(wanted)) is None:
            parts = []
            for injector in self._injectors:
                last = injector is self._injectors[-1]
                part = {name: type_ for name, type_ in injected.items() if last or injector.provides(name, type_)}
                injected = {name: type_ for name, type_ in injected.items() if name not in part}
                if part:
                    parts.append((injector, part))
            self._known[wanted] = parts
        return parts


@asynccontextmanager
async def _scopes(parts: Parts) -> AsyncIterator[dict[str, Any]]:
    async with AsyncExitStack() as stack:
        found: dict[str, Any] = {}
        for injector, part in parts:
            found |= await stack.enter_async_context(injector.scope(part))
        yield found
