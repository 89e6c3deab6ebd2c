"""Direct calls of a task's function: omitted injected parameters come from the process's injector.

    result = await send_welcome_email({"queue": queue}, user_id=123)

Nothing is queued or validated. Injected objects live in a separate scope, which closes when the function returns: a
session commits then, and rolls back on an error.
"""

import inspect
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from saqueduct.errors import ConfigurationError
from saqueduct.injection.context import injector_of
from saqueduct.injection.injector import Injector, type_name
from saqueduct.tasks.blocking.portal import refuse_in_event_loop, wait_for
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.tasks.queues import current_queues
from saqueduct.tasks.signature import INJECTED


class DirectCall:
    """One direct call.

    Args:
        task: the task whose function is called.
        args: positional arguments of the call, the context first.
        kwargs: keyword arguments of the call.

    Raises:
        TypeError: the arguments do not fit the function; Python's own message.
    """

    def __init__(self, task: TaskDefinition, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._task = task
        self._bound = inspect.signature(task.function).bind_partial(*args, **kwargs)
        given = self._bound.arguments
        self.left_out = {
            name: type_ for name, type_ in task.signature.injected.items() if given.get(name, INJECTED) is INJECTED
        }
        """Injected parameters that the call omits, name -> type."""

    async def run(self) -> Any:
        """Call an `async def` function.

        Raises:
            ConfigurationError: the process does not provide an omitted parameter.
        """
        async with self._scope() as found:
            return await self._function(found)

    def run_blocking(self) -> Any:
        """Call a `def` function in this thread; injected objects are created in the event loop of another thread.

        Raises:
            ConfigurationError: the process does not provide an omitted parameter, or its event loop has ended.
            CalledInEventLoop: an event loop runs in this thread.
        """
        refuse_in_event_loop()
        # Comes first: in a forked process this creates a new injector.
        loop = current_queues().loop
        scope = self._scope()
        found = wait_for(loop, scope.__aenter__)
        try:
            result = self._function(found)
        except BaseException as error:
            wait_for(loop, scope.__aexit__, type(error), error, error.__traceback__)
            raise
        wait_for(loop, scope.__aexit__, None, None, None)
        return result

    def _function(self, found: Mapping[str, Any]) -> Any:
        self._bound.arguments.update(found)
        return self._task.function(*self._bound.args, **self._bound.kwargs)

    def _scope(self) -> AbstractAsyncContextManager[dict[str, Any]]:
        return self._injector().scope(self.left_out)

    def _injector(self) -> Injector:
        context = next(iter(self._bound.arguments.values()), None)
        injector = injector_of(context) if isinstance(context, Mapping) else None
        injector = injector or _of_process()
        if injector is None or not all(injector.provides(*each) for each in self.left_out.items()):
            raise ConfigurationError(self._remedy())
        return injector

    def _remedy(self) -> str:
        missing = ", ".join(f"{name}: {type_name(type_)}" for name, type_ in self.left_out.items())
        passed = ", ".join(f"{name}=..." for name in self.left_out)
        return (
            f"{self._task.name} has injected parameters ({missing}), which this process does not provide: "
            f"pass them, `{self._task.name}(ctx, ..., {passed})`, or call it where the application's queues are "
            "connected; in a test, use the fixture `injector` or `jobs`"
        )


def direct_call(task: TaskDefinition, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> DirectCall | None:
    """The call, if something must be injected; None: the function has all its arguments."""
    if not task.signature.injected:
        return None
    call = DirectCall(task, args, kwargs)
    return call if call.left_out else None


def _of_process() -> Injector | None:
    try:
        return current_queues().injector
    except ConfigurationError:
        return None
