"""The portal: how a thread without an event loop calls the event loop that owns the queues, and waits."""

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from saqueduct.errors import ConfigurationError, QueueError
from saqueduct.tasks.queues import TaskQueues

P = ParamSpec("P")
T = TypeVar("T")

LOOP_LOOK = 1.0
"""Seconds between checks that the event loop still runs; one that has ended never answers."""


class CalledInEventLoop(QueueError, RuntimeError):
    """A blocking call in a thread that runs an event loop, which the call would block."""

    def __init__(self) -> None:
        super().__init__(
            "this call blocks, and an event loop runs in this thread: in async code await the task's own calls "
            "(`job = await task.enqueue(...)`, `await job.result(timeout=10)`), "
            "or block in another thread (`await asyncio.to_thread(...)`, a sync handler with sync_to_thread=True)"
        )


class Portal:
    """Runs coroutines on the event loop that connected the queues: the web process's, the worker's, or a background
    thread's (see `BlockingContainer`, which also connects them again in a forked process).

    Args:
        queues: must be connected when the first call is made.
    """

    def __init__(self, queues: TaskQueues) -> None:
        self._queues = queues

    def run(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a coroutine function on that event loop; returns its result, or raises its exception.

        Raises:
            CalledInEventLoop: this thread runs an event loop itself.
            ConfigurationError: the queues are not connected, or their event loop has ended.
        """
        refuse_in_event_loop()
        return wait_for(self._loop(), function, *args, **kwargs)

    def _loop(self) -> asyncio.AbstractEventLoop:
        self._queues.check_process()
        try:
            loop = next(iter(self._queues)).loop
        except RuntimeError:
            loop = None
        if loop is None or not loop.is_running():
            raise ConfigurationError(
                "the queues are not connected to a running event loop: use `async with Saqueduct(config):` in the "
                "event loop of this process, or a `BlockingContainer` of saqueduct.blocking without one"
            )
        return loop


def refuse_in_event_loop() -> None:
    """Raise if a blocking call would stop an event loop.

    Raises:
        CalledInEventLoop: this thread runs one.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise CalledInEventLoop


def wait_for(
    loop: asyncio.AbstractEventLoop, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a coroutine function on the loop of another thread; an interrupt here (Ctrl-C) cancels it there.

    Raises:
        ConfigurationError: the loop ended first.
    """
    coroutine = function(*args, **kwargs)
    try:
        answer = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:
        coroutine.close()
        raise _ended() from None
    try:
        while not concurrent.futures.wait([answer], LOOP_LOOK).done:
            if not loop.is_running():
                raise _ended()
        return answer.result()
    except concurrent.futures.CancelledError:
        raise _ended() from None
    finally:
        answer.cancel()


def _ended() -> ConfigurationError:
    return ConfigurationError("the event loop of the queues has ended: the process stops, or its container was closed")
