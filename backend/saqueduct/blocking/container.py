"""The container for code that has no event loop: shells, scripts, cron jobs of a machine."""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Self, TypeVar

from saqueduct.blocking import forking
from saqueduct.errors import ConfigurationError
from saqueduct.injection.injector import Injector
from saqueduct.queue.queues import Queues
from saqueduct.tasks.blocking.portal import refuse_in_event_loop, wait_for

P = ParamSpec("P")
T = TypeVar("T")

CANCELLATIONS = 20
CANCELLATION_PAUSE = 0.25
"""How often a task is cancelled that does not end, and seconds in between, when a container is closed."""


Build = Callable[[], tuple[Queues, Injector]]
"""Makes queues, not connected yet, and the injector of these queues."""

_inherited: list[Any] = []
"""What a forked process has of its parent, and neither uses nor closes: the parent's event loop would hear of it."""


class BlockingContainer:
    """A container and connected queues on an event loop in a background thread, until the end of a block or, without
    a block, of the process.

        with BlockingContainer(build) as container:
            container.get(TasksRegistry).ping.delay()

    Args:
        build: makes queues and injector; again in each forked process that uses this, such as a worker of
            `gunicorn --preload`, where the queues turn into the new ones. Both are closed at the end.

    Raises:
        CalledInEventLoop: this thread runs an event loop, which the call would block.
        ConfigurationError: this process has connected queues already; its own container serves blocking calls.
    """

    def __init__(self, build: Build) -> None:
        refuse_in_event_loop()
        _refuse_second()
        self._build = build
        self._connected_in = 0
        """The process that this is connected in; 0: in none so far."""
        with forking.building:
            self.queues, self._injector = build()
            self._start()
        self._connect()

    def _start(self) -> None:
        """Start the event loop; asyncio holds a lock while it makes one."""
        self.queues.host = self
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="queues", daemon=True)
        self._thread.start()
        forking.pause_for_forks(self._loop, self._thread)

    def _connect(self) -> None:
        atexit.register(self.close)
        try:
            wait_for(self._loop, self.queues.connect)
        except BaseException:
            self.close()
            raise
        self._connected_in = self._pid

    def reopen(self) -> None:
        """Connect again in a forked process; in the one that has connected: nothing.

        Raises:
            CalledInEventLoop: this thread runs an event loop itself.
        """
        refuse_in_event_loop()
        with forking.building:
            if self._connected_in == os.getpid():
                return
            atexit.unregister(self.close)
            queues, injector = self._build()
            _inherited.append((self._loop, self._thread, self._injector, self.queues.become(queues)))
            self._injector = injector
            self._start()
            self._connect()

    def get(self, type_: type[T]) -> T:
        """What the container of dishka provides for a type, of its widest scope: Settings, TasksRegistry, Queues...

        Raises:
            ConfigurationError: the injector has no container of dishka.
            NoFactoryError: it provides none there; what lives as long as a request or a job is only in those.
        """
        self._check_process()
        if (container := self._injector.container) is None:
            raise ConfigurationError(f"no container of dishka, so {type_!r} cannot be looked up by its type")
        found: T = self.run(container.get, type_)
        return found

    def run(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a coroutine function on the background's event loop, and return what it returns.

            container.run(container.queues.get("default").count, "queued")

        Raises:
            CalledInEventLoop: this thread runs an event loop itself.
            ConfigurationError: this container was closed.
        """
        refuse_in_event_loop()
        self._check_process()
        return wait_for(self._loop, function, *args, **kwargs)

    def _check_process(self) -> None:
        if self._connected_in != os.getpid():
            self.reopen()

    def close(self) -> None:
        """Close the connections and end the thread; again, or in a forked process that has not used it: nothing."""
        atexit.unregister(self.close)
        if self._pid != os.getpid() or self._loop.is_closed():
            return
        try:
            refuse_in_event_loop()
            wait_for(self._loop, self._close)
        finally:
            forking.forget(self._loop)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _close(self) -> None:
        # First those who wait: without connections they would end in errors of their own.
        await _cancel_others()
        try:
            await self._injector.close()
        finally:
            await self.queues.disconnect()
            await asyncio.get_running_loop().shutdown_asyncgens()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _cancel_others() -> None:
    """End all other tasks of this loop. Again and again, because redis-py swallows a cancellation while it connects."""
    for _ in range(CANCELLATIONS):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if not others:
            return
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=CANCELLATION_PAUSE)


def _refuse_second() -> None:
    try:
        Queues.current()
    except ConfigurationError:
        return
    raise ConfigurationError(
        "the queues of this process are connected already: take TasksRegistry from the container that is there"
    )
