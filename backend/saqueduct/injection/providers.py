"""Providers: one dependency each, from a `Provide` of Litestar, a plain function, or a config of advanced-alchemy."""

import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from collections.abc import Generator as SyncGenerator
from typing import Any

import anyio.to_thread

from saqueduct.errors import ConfigurationError

Generator = AsyncGenerator[Any, Any] | SyncGenerator[Any, Any, Any]
"""The generator of a provider, to be closed after the job."""

_FILLED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Provider:
    """Makes one dependency.

    Args:
        name: of the dependency.
        dependency: as it was declared.
        call: makes the value, an awaitable of it, or a generator that yields it.
        function: whose parameters the dependency has.

    Attributes:
        parameters: name -> True when it must be given.
    """

    def __init__(self, name: str, dependency: Any, call: Callable[..., Any], function: Any) -> None:
        self.name, self.dependency = name, dependency
        self._call = call
        self.parameters = {
            each.name: each.default is inspect.Parameter.empty
            for each in inspect.signature(function).parameters.values()
            if each.kind in _FILLED
        }

    async def make(self, arguments: Mapping[str, Any]) -> tuple[Any, Generator | None]:
        """The value, and the generator that has yielded it.

        Raises:
            ConfigurationError: the generator yields nothing.
        """
        value = self._call(**arguments)
        if inspect.isawaitable(value):
            value = await value
        if inspect.isasyncgen(value):
            async for found in value:
                return found, value
        elif inspect.isgenerator(value):
            for found in value:
                return found, value
        else:
            return value, None
        raise ConfigurationError(f"the dependency {self.name!r} yields nothing")

    async def close(self) -> None:
        """Close what outlives a job."""


def provider_of(name: str, dependency: Any) -> Provider:
    """The provider of a dependency as it was declared.

    Raises:
        ConfigurationError: it is neither a `Provide` nor a function.
    """
    if isinstance(dependency, Provider):
        return dependency
    function = dependency
    if isinstance(dependency, _loaded("litestar.di", "Provide")):
        function = dependency.dependency
        if isinstance(function, _loaded("litestar.utils.sync", "AsyncCallable")):
            function = function.func
    if not callable(function):
        raise ConfigurationError(f"dependencies[{name!r}] is {dependency!r}: give a Provide, or a function")
    if of_alchemy := _of_advanced_alchemy(name, dependency, function):
        return of_alchemy
    return Provider(name, dependency, dependency, function)


async def finish(generator: Generator) -> None:
    """Continue a generator after its `yield`; a plain one in a thread, as Litestar does. Raises what it raises."""
    if isinstance(generator, AsyncGenerator):
        async for _ in generator:
            await generator.aclose()
    else:
        await anyio.to_thread.run_sync(_finish, generator)


async def throw(generator: Generator, error: BaseException) -> None:
    """Throw the error of a job into a generator.

    Raises:
        BaseException: that error, or another one that the generator raises.
    """
    if isinstance(generator, AsyncGenerator):
        try:
            await generator.athrow(error)
        except StopAsyncIteration:
            return
        await generator.aclose()
    else:
        await anyio.to_thread.run_sync(_throw, generator, error)


def _finish(generator: SyncGenerator[Any, Any, Any]) -> None:
    for _ in generator:
        generator.close()


def _throw(generator: SyncGenerator[Any, Any, Any], error: BaseException) -> None:
    try:
        generator.throw(error)
    except StopIteration:
        return
    generator.close()


class AlchemyProvider(Provider):
    """The session or the engine of an `SQLAlchemyAsyncConfig` or `SQLAlchemySyncConfig` of advanced-alchemy.

    Its own provider takes the session from a request. A job has its own session, which commits after it, or rolls back.

    Args:
        name: of the dependency.
        dependency: as it was declared.
        config: advanced-alchemy's.
        make: makes the value from the config.
    """

    def __init__(self, name: str, dependency: Any, config: Any, make: Callable[[Any], Any]) -> None:
        super().__init__(name, dependency, lambda: make(config), lambda: None)
        self._config = config
        self._made_engine = config.engine_instance is None

    async def close(self) -> None:
        """Close the connections of an engine that jobs used first."""
        engine = self._config.engine_instance
        if self._made_engine and engine is not None and inspect.iscoroutinefunction(engine.dispose):
            await engine.dispose()


def session_of(name: str, config: Any) -> Provider:
    """The provider of advanced-alchemy's session, from its config."""
    is_async = any(each.__name__ == "SQLAlchemyAsyncConfig" for each in type(config).__mro__)
    return AlchemyProvider(name, config, config, _session if is_async else _sync_session)


def _of_advanced_alchemy(name: str, dependency: Any, function: Any) -> Provider | None:
    config = getattr(function, "__self__", None)
    if not any(each.__module__.startswith("advanced_alchemy.") for each in type(config).__mro__):
        return None
    if function.__name__ == "provide_session":
        provider = session_of(name, config)
        provider.dependency = dependency
        return provider
    if function.__name__ == "provide_engine":
        return AlchemyProvider(name, dependency, config, _engine)
    return None


async def _session(config: Any) -> AsyncIterator[Any]:
    async with config.create_session_maker()() as session:
        yield session
        await session.commit()


def _sync_session(config: Any) -> Iterator[Any]:
    with config.create_session_maker()() as session:
        yield session
        session.commit()


def _engine(config: Any) -> Any:
    return config.get_engine()


def _loaded(module: str, name: str) -> Any:
    """A class of a module, if the module is loaded: without it, nothing is of that class."""
    found = sys.modules.get(module)
    return () if found is None else getattr(found, name)
