"""Injection by parameter name, as Litestar does it: from `Provide`s, and from plain functions.

Each job has its own scope. Generators are closed after the job, in reverse order: after a success the generator
continues after its `yield`, after a failure the error is thrown into it.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Protocol

from saqueduct.errors import ConfigurationError
from saqueduct.injection.providers import Generator, Provider, finish, provider_of, throw

logger = logging.getLogger("saqueduct")

OF_REQUESTS = frozenset({"request", "socket", "scope", "headers", "cookies", "query", "body", "data"})
"""What Litestar fills from a request, which a job does not have."""

STATE = "state"
"""What Litestar fills with the state of the application."""


class Application(Protocol):
    """What is taken from an application of Litestar, or from its `AppConfig`, to which other plugins may add."""

    @property
    def dependencies(self) -> Mapping[str, Any]: ...
    @property
    def state(self) -> Any: ...


class Watch(Protocol):
    """Is notified of what a scope makes; see `saqueduct.postgres.job_sessions`."""

    def made(self, value: Any) -> None:
        """A dependency was made that is closed at the end; the first one made is closed last."""

    def failed(self) -> None:
        """A dependency could not be closed, so the job has failed."""


class Step:
    """One dependency in the order of making.

    Args:
        provider: makes it.
        needs: names of the dependencies that it takes.
        takes_state: True: it takes the state of the application.
    """

    __slots__ = ("needs", "provider", "takes_state")

    def __init__(self, provider: Provider, needs: tuple[str, ...], takes_state: bool) -> None:
        self.provider, self.needs, self.takes_state = provider, needs, takes_state


class NamedInjector:
    """Takes what tasks have injected from `dependencies`, and then from those of an application, by parameter name.

        NamedInjector({"db_session": Provide(provide_session), "users": Provide(provide_users)})

    A dependency may take others, by name, and `state` of the application. It is made once per job; with `use_cache`
    once per process.

    Args:
        dependencies: name -> `Provide` or function.
        defaults: the same, for names that neither these nor an application have.
        watch: makes the object that is notified of what a scope makes.
    """

    def __init__(
        self,
        dependencies: Mapping[str, Any],
        *,
        defaults: Mapping[str, Any] | None = None,
        watch: Callable[[], Watch | None] = lambda: None,
    ) -> None:
        self._own = dict(dependencies)
        self._defaults = dict(defaults or {})
        self._application: Application | None = None
        self._watch = watch
        self._providers: dict[str, Provider] = {}
        self._plans: dict[tuple[str, ...], list[Step]] = {}

    def serve(self, application: Application) -> None:
        """Take what is not in `dependencies` from an application."""
        self._application = application
        self._providers, self._plans = {}, {}

    @property
    def container(self) -> None:
        return None

    def provides(self, name: str, type_: Any) -> bool:
        return not self._problem(name)

    def claims(self, name: str) -> bool:
        return name in self._own

    def scope(self, injected: Mapping[str, Any], /) -> AbstractAsyncContextManager[dict[str, Any]]:
        """One scope.

        Raises:
            ConfigurationError: something is not provided.
            Exception: what the block raised, else the first error of a dependency that could not be closed.
        """
        names = tuple(injected)
        if (plan := self._plans.get(names)) is None:
            plan = self._plans[names] = self._plan(names)
        state = None if self._application is None else self._application.state
        return _Scope(names, plan, state, self._watch())

    def remedy(self, name: str, type_: Any) -> str:
        if self._dependency(name) is None:
            return f'add "{name}": Provide(...) to `dependencies`'
        return self._problem(name)

    async def close(self) -> None:
        defaults = [each for each in self._defaults.values() if isinstance(each, Provider)]
        for provider in {*self._providers.values(), *defaults}:
            await provider.close()

    def _plan(self, names: tuple[str, ...]) -> list[Step]:
        plan: dict[str, Step] = {}
        problems = [problem for name in names if (problem := self._add(name, plan, ()))]
        if problems:
            raise ConfigurationError("; ".join(problems))
        return list(plan.values())

    def _problem(self, name: str) -> str:
        """Why a dependency cannot be made in a job; empty: it can be."""
        return self._add(name, {}, ())

    def _add(self, name: str, plan: dict[str, Step], path: tuple[str, ...]) -> str:
        """Add a dependency to a plan, after those that it takes; returns why that is not possible, or nothing."""
        if name in plan:
            return ""
        if name in path:
            return f"the dependencies {' -> '.join([*path, name])} depend on one another"
        provider = self._provider(name)
        if provider is None:
            return f"there is no {name!r} in `dependencies`"
        needs = [each for each in provider.parameters if self._dependency(each) is not None]
        for each in needs:
            if problem := self._add(each, plan, (*path, name)):
                return problem
        left = [each for each in provider.parameters if each not in needs]
        takes_state = STATE in left and self._application is not None
        for each in left:
            if provider.parameters[each] and not (each == STATE and takes_state):
                return _unfilled(name, each)
        plan[name] = Step(provider, tuple(needs), takes_state)
        return ""

    def _dependency(self, name: str) -> Any:
        found = self._own.get(name)
        if found is None and self._application is not None:
            found = self._application.dependencies.get(name)
        return self._defaults.get(name) if found is None else found

    def _provider(self, name: str) -> Provider | None:
        dependency = self._dependency(name)
        if dependency is None:
            return None
        provider = self._providers.get(name)
        if provider is None or provider.dependency is not dependency:
            provider = self._providers[name] = provider_of(name, dependency)
        return provider


class _Scope(AbstractAsyncContextManager[dict[str, Any]]):
    """The dependencies of one job."""

    __slots__ = ("_generators", "_names", "_plan", "_state", "_watch")

    def __init__(self, names: tuple[str, ...], plan: list[Step], state: Any, watch: Watch | None) -> None:
        self._names, self._plan, self._state, self._watch = names, plan, state, watch
        self._generators: list[tuple[str, Generator]] = []

    async def __aenter__(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        try:
            for step in self._plan:
                made[step.provider.name] = await self._make(step, made)
        except BaseException as error:
            await self._close(error)
            raise
        return {name: made[name] for name in self._names}

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        failure = await self._close(error)
        if failure is not None and failure is not error:
            raise failure

    async def _make(self, step: Step, made: Mapping[str, Any]) -> Any:
        arguments = {name: made[name] for name in step.needs}
        if step.takes_state:
            arguments[STATE] = self._state
        value, generator = await step.provider.make(arguments)
        if generator is not None:
            self._generators.append((step.provider.name, generator))
            if self._watch is not None:
                self._watch.made(value)
        return value

    async def _close(self, error: BaseException | None) -> BaseException | None:
        """Close all that was yielded, the last first; returns the error of the job, or else the first error of a close.

        Further errors are logged: they say less than the first about why the job has failed.
        """
        while self._generators:
            name, generator = self._generators.pop()
            try:
                await (finish(generator) if error is None else throw(generator, error))
            except BaseException as raised:
                if error is None and self._watch is not None:
                    self._watch.failed()
                if error is None or not isinstance(raised, Exception):
                    error = raised
                elif raised is not error:
                    logger.error("the dependency %r could not be closed", name, exc_info=raised)
        return error


def _unfilled(name: str, parameter: str) -> str:
    if parameter in OF_REQUESTS:
        return f"the dependency {name!r} takes `{parameter}`, which only requests have"
    return f"the dependency {name!r} takes `{parameter}`, which is not in `dependencies`"
