"""Threads for plain functions: one for each call, so that no call waits for another.

A thread cannot be stopped. A call that hangs keeps its thread, and the next call gets another one: there are as many
threads as calls have run at the same time. That number is bounded by the slots of the workers, and by how many hung
calls a worker tolerates.
"""

import asyncio
import inspect
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any

from saq.job import Status
from saq.types import Context

from saqueduct.tasks import current_job
from saqueduct.tasks.job import own_fields

EXIT_FORKED = 1
"""Exit status of a forked process in which its job ends, unless it sets another one with SystemExit."""

STACK = 20
"""Number of frames to show of a call that hangs, starting with the innermost."""


async def in_thread(function: Callable[..., Any], ctx: Context, /, **arguments: Any) -> Any:
    """Call a function in a thread, and await what it returns if that can be awaited.

    If cancelled before the call has begun, the call never begins. If cancelled later, it first waits until the call
    ends: otherwise a retry would run at the same time.

    Raises:
        RuntimeError: the function raised StopIteration or GeneratorExit, which cannot leave a coroutine.
        BaseException: any other exception of the function.
    """
    call = _Call(function, ctx, arguments)
    _hand_over(call)
    try:
        result = await call.outcome
    except asyncio.CancelledError:
        if not call.withdraw():
            await call.end()
        raise
    # A plain decorator around a coroutine function returns a coroutine.
    return await result if inspect.isawaitable(result) else result


def stack_of(job: Any) -> str:
    """The stack of the thread that runs the plain function of a job; empty: no thread does."""
    for thread in _threads:
        call = thread.call
        if call is not None and call.context.get("job") is job:
            frame = sys._current_frames().get(thread.ident or 0)
            return "".join(traceback.format_stack(frame, STACK)) if frame is not None else ""
    return ""


def _awaitable(error: BaseException) -> BaseException:
    """An error that can leave a coroutine: a future refuses StopIteration, and would never be done; GeneratorExit
    closes the coroutines that await it."""
    if not isinstance(error, StopIteration | GeneratorExit):
        return error
    other = RuntimeError(f"the function raised {type(error).__name__}")
    other.__cause__ = error
    return other


def end_if_forked(pid: int, error: BaseException | None) -> None:
    """End this process if a job has forked it: its worker runs in the parent, whose process id is `pid`."""
    if os.getpid() != pid:
        status = error.code if isinstance(error, SystemExit) else EXIT_FORKED
        os._exit(status if isinstance(status, int) else 0 if status is None else EXIT_FORKED)


class ReplacingExecutor(ThreadPoolExecutor):
    """Executor for `asyncio.to_thread`: limits concurrent calls, not counting those without a waiting caller.

    A call whose awaiter was cancelled keeps its thread until it ends, but its place goes to the next call: otherwise
    jobs that hang there would take the threads of all others. A cancelled call that has not begun never begins.

    Args:
        places: maximum number of concurrent calls.
    """

    def __init__(self, places: int) -> None:
        super().__init__(1)
        self.lost = 0
        """Number of calls that still run without a waiting caller."""
        self._places = places
        self._calls: set[_Submitted] = set()
        """Running calls that occupy a place."""
        self._line: deque[_Submitted] = deque()
        self._counting = threading.Lock()

    def submit(self, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Future[Any]:
        call = _Submitted(self, partial(function, *args, **keywords))
        with self._counting:
            self._line.append(call)
        self._begin()
        return call

    def lose(self, call: "_Submitted") -> None:
        """Note that a running call has no waiting caller any more."""
        with self._counting:
            if call.lost or call.over:
                return
            call.lost = True
            self.lost += 1
            self._calls.discard(call)
        self._begin()

    def lose_abandoned(self) -> None:
        """Free the places of calls whose jobs have ended: a job may shield a call, or not await it."""
        with self._counting:
            abandoned = [call for call in self._calls if call.abandoned] if self._line else []
        for call in abandoned[: len(self._line)]:
            self.lose(call)

    def end(self, call: "_Submitted") -> None:
        """Note that a call has ended."""
        with self._counting:
            call.over = True
            if call.lost:
                self.lost -= 1
            else:
                self._calls.discard(call)
        self._begin()

    def _begin(self) -> None:
        while True:
            with self._counting:
                if not self._line or len(self._calls) >= self._places:
                    return
                call = self._line.popleft()
                if not call.set_running_or_notify_cancel():
                    continue
                self._calls.add(call)
            _hand_over(call)


class _Submitted(Future[Any]):
    """A call of an executor."""

    context: Mapping[str, Any] = {}

    def __init__(self, executor: ReplacingExecutor, function: Callable[[], Any]) -> None:
        super().__init__()
        self._executor = executor
        self._function = function
        self._job = current_job.job.get()
        self.lost = self.over = False

    @property
    def abandoned(self) -> bool:
        """True if the job that made the call has ended."""
        job = self._job
        return job is not None and (job.status is not Status.ACTIVE or own_fields(job).given_up)

    def cancel(self) -> bool:
        cancelled = super().cancel()
        if not cancelled and self.running():
            self._executor.lose(self)
        return cancelled

    def run(self) -> Callable[[], None]:
        """In the thread: call the function; returns a callback that reports its end."""
        try:
            report = partial(self.set_result, self._function())
        except BaseException as error:
            report = partial(self.set_exception, _awaitable(error))
        self._executor.end(self)
        return report


class _Call:
    """One call; created in the event loop that awaits it."""

    def __init__(self, function: Callable[..., Any], ctx: Context, arguments: dict[str, Any]) -> None:
        self.context = ctx
        self._loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Any] = self._loop.create_future()
        self._function, self._arguments = function, arguments
        self._variables = copy_context()
        self._claim = threading.Lock()
        """Whoever acquires it first decides whether the function is called: the thread, or `withdraw`."""
        self._over = False
        self._ended: asyncio.Future[None] | None = None

    def withdraw(self) -> bool:
        """Prevent the call from beginning; False: it has already begun."""
        return self._claim.acquire(blocking=False)

    async def end(self) -> None:
        """Wait until the function has returned or raised."""
        if not self._over:
            self._ended = self._loop.create_future()
            await self._ended

    def run(self) -> Callable[[], None]:
        """In the thread: call the function; returns a callback that reports its end to the event loop."""
        if not self._claim.acquire(blocking=False):
            return lambda: None
        pid = os.getpid()
        result: Any = None
        error: BaseException | None = None
        try:
            result = self._variables.run(self._function, self.context, **self._arguments)
        except BaseException as raised:
            error = _awaitable(raised)
        end_if_forked(pid, error)
        return lambda: self._report(result, error)

    def _report(self, result: Any, error: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._arrive, result, error)
        except RuntimeError:
            # The event loop is closed: no caller waits any more.
            return

    def _arrive(self, result: Any, error: BaseException | None) -> None:
        self._over = True
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        if self.outcome.done():
            if inspect.iscoroutine(result):
                # It will never be awaited, and Python warns about that.
                result.close()
        elif error is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(result)


class _Thread(threading.Thread):
    """Runs calls, one after another."""

    def __init__(self) -> None:
        super().__init__(name="task", daemon=True)
        self.calls: SimpleQueue[_Call | _Submitted] = SimpleQueue()
        self.call: _Call | _Submitted | None = None

    def run(self) -> None:
        while True:
            self.call = self.calls.get()
            report = self.call.run()
            self.call = None
            # Marked idle before the result is reported: the next call needs no further thread.
            _idle.append(self)
            report()
            del report


_threads: list[_Thread] = []
_idle: list[_Thread] = []
"""Idle threads; the most recently used one is used first."""


def _hand_over(call: _Call | _Submitted) -> None:
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
