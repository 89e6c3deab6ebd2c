"""Several injectors as one: a container of dishka beside dependencies of Litestar."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from saqueduct.injection.injector import Injector


class CombinedInjector:
    """Takes each parameter from the first injector that provides it.

    Args:
        injectors: their scopes open in this order and close in the reverse order.
    """

    def __init__(self, *injectors: Injector) -> None:
        self._injectors = injectors

    @property
    def container(self) -> Any:
        return next((each.container for each in self._injectors if each.container is not None), None)

    def provides(self, name: str, type_: Any) -> bool:
        return any(each.provides(name, type_) for each in self._injectors)

    @asynccontextmanager
    async def scope(self, injected: Mapping[str, Any], /) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            found: dict[str, Any] = {}
            for injector, part in self._parts(injected):
                found |= await stack.enter_async_context(injector.scope(part))
            yield found

    def remedy(self, name: str, type_: Any) -> str:
        return ", or ".join(each.remedy(name, type_) for each in self._injectors)

    async def close(self) -> None:
        async with AsyncExitStack() as stack:
            for each in self._injectors:
                stack.push_async_callback(each.close)

    def _parts(self, injected: Mapping[str, Any]) -> Iterator[tuple[Injector, dict[str, Any]]]:
        left = dict(injected)
        for injector in self._injectors:
            part = {name: type_ for name, type_ in left.items() if injector.provides(name, type_)}
            left = {name: type_ for name, type_ in left.items() if name not in part}
            if part:
                yield injector, part
