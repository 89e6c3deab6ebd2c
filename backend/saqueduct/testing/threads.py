"""An event loop in a separate thread, for tests that have none, and workers in it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Self, TypeVar

from saqueduct.queue.queue import EngineQueue
from saqueduct.queue.queues import Queues
from saqueduct.testing.running import working
from saqueduct.testing.setup import Setup

T = TypeVar("T")


class LoopThread:
    """An event loop that runs in a thread during a block."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, and wait for what it returns or raises."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    @contextmanager
    def entered(self, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """The value of an async context manager, for a block of the calling thread."""
        value = self.call(_coroutine(manager.__aenter__()))
        try:
            yield value
        finally:
            self.call(_coroutine(manager.__aexit__(None, None, None)))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._loop.shutdown_asyncgens())
        self.call(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class ThreadedQueues:
    """Queues in a separate thread, for calls from any other thread, with or without an event loop.

    Args:
        queues: not connected; closed at the end of the block.
    """

    def __init__(self, queues: Queues) -> None:
        self._thread = LoopThread("queues")
        self._queues = queues

    def call(self, ask: Callable[[Iterable[EngineQueue]], Coroutine[Any, Any, T]]) -> T:
        """The result of a coroutine function that is called with the queues."""
        return self._thread.call(ask(self._queues))

    def __enter__(self) -> Self:
        self._thread.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.call(self._queues.disconnect())
        self._thread.__exit__()


@contextmanager
def worker_thread(setup: Setup, *, schedules: bool = False) -> Iterator[None]:
    """Workers of every queue, which run concurrently with the test during a block.

    They have a thread, an event loop, queues and an injector of their own, as a worker process has.

    Args:
        setup: how the project builds them.
        schedules: True: they make the jobs of the schedules, too.

    Raises:
        ConfigurationError: the project's workers cannot be built.
    """
    with LoopThread("worker") as thread, thread.entered(_serving(setup, schedules)):
        yield


@asynccontextmanager
async def _serving(setup: Setup, schedules: bool) -> AsyncIterator[None]:
    async with (
        setup.opened() as (queues, injector),
        working(setup.workers_for(queues, injector, schedules=schedules)),
    ):
        yield


async def _coroutine(awaitable: Any) -> Any:
    return await awaitable
