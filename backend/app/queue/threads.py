"""Threads for plain functions: one for each call, so that no call waits for another.

A thread cannot be stopped. A call that hangs keeps its thread, and the next call gets another one: there are as many
threads as calls have run at once. The slots of the workers bound that number, and how many hung calls a worker puts up
with.
"""

import asyncio
import inspect
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

from saq.types import Context

STACK = 20
"""Frames of a call that hangs, from the innermost on."""


async def in_thread(function: Callable[..., Any], ctx: Context, /, **arguments: Any) -> Any:
    """Call a function in a thread, and await what it returns if that can be awaited.

    When cancelled before the call has begun, the call never begins. Later it waits for the end of the call first:
    otherwise a retry would run beside it.

    Raises:
        RuntimeError: the function raised StopIteration, which cannot leave a coroutine.
        BaseException: what else the function raised.
    """
    call = _Call(function, ctx, arguments)
    _hand_over(call)
    try:
        result = await call.outcome
    except asyncio.CancelledError:
        if not call.withdraw():
            await call.end()
        raise
    # A decorator that is no coroutine function, around one that is, returns a coroutine.
    return await result if inspect.isawaitable(result) else result


def stack_of(job: Any) -> str:
    """Where the thread is that runs the plain function of a job; empty: none does."""
    for thread in _threads:
        call = thread.call
        if call is not None and call.context.get("job") is job:
            frame = sys._current_frames().get(thread.ident or 0)
            return "".join(traceback.format_stack(frame, STACK)) if frame is not None else ""
    return ""


class _Call:
    """One call; made in the event loop that awaits it."""

    def __init__(self, function: Callable[..., Any], ctx: Context, arguments: dict[str, Any]) -> None:
        self.context = ctx
        self._loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Any] = self._loop.create_future()
        self._function, self._arguments = function, arguments
        self._variables = copy_context()
        self._claim = threading.Lock()
        """Whoever acquires it decides whether the function is called: the thread, or who withdraws the call."""
        self._over = False
        self._ended: asyncio.Future[None] | None = None

    def withdraw(self) -> bool:
        """Keep it from beginning; False: it has begun."""
        return self._claim.acquire(blocking=False)

    async def end(self) -> None:
        """Wait until the function has returned or raised."""
        if not self._over:
            self._ended = self._loop.create_future()
            await self._ended

    def run(self) -> Callable[[], None]:
        """In the thread: call the function; returns what reports its end to the event loop."""
        if not self._claim.acquire(blocking=False):
            return lambda: None
        result: Any = None
        error: BaseException | None = None
        try:
            result = self._variables.run(self._function, self.context, **self._arguments)
        except StopIteration as stop:
            error = RuntimeError("the function raised StopIteration")
            error.__cause__ = stop
        except BaseException as raised:
            error = raised
        return lambda: self._report(result, error)

    def _report(self, result: Any, error: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._arrive, result, error)
        except RuntimeError:
            # The event loop is closed: nobody waits any more.
            return

    def _arrive(self, result: Any, error: BaseException | None) -> None:
        self._over = True
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        if self.outcome.done():
            if inspect.iscoroutine(result):
                # Nobody will await it, and Python warns of such.
                result.close()
        elif error is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(result)


class _Thread(threading.Thread):
    """Carries out calls, one after another."""

    def __init__(self) -> None:
        super().__init__(name="task", daemon=True)
        self.calls: SimpleQueue[_Call] = SimpleQueue()
        self.call: _Call | None = None

    def run(self) -> None:
        while True:
            self.call = self.calls.get()
            report = self.call.run()
            self.call = None
            # Idle before anybody knows: the next call needs no further thread.
            _idle.append(self)
            report()
            del report


_threads: list[_Thread] = []
_idle: list[_Thread] = []
"""Threads without a call; the last one that was used is used first."""


def _hand_over(call: _Call) -> None:
    try:
        thread = _idle.pop()
    except IndexError:
        thread = _Thread()
        thread.start()
        _threads.append(thread)
    thread.calls.put(call)


def _forget() -> None:
    """A forked process has none of these threads."""
    _threads.clear()
    _idle.clear()


os.register_at_fork(after_in_child=_forget)
