"""The worker process: one event loop that no job can end, its signals, and its exit when it is no longer useful."""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from saqueduct.tasks import current_job
from saqueduct.tasks.threads import EXIT_FORKED, ReplacingExecutor, end_if_forked
from saqueduct.timings import Timings
from saqueduct.worker import loop_monitor
from saqueduct.worker.worker import EngineWorker

logger = logging.getLogger("saqueduct.worker")

T = TypeVar("T")

SIGNALS = (signal.SIGTERM, signal.SIGINT)

EXIT_USELESS = 3
"""Exit status of a process that is no longer useful; its supervisor restarts it."""

LOST_THREADS = 4
"""Abandoned calls of `asyncio.to_thread` that may hang, as a multiple of the concurrent calls."""

BLOCKED = 1.0
"""Seconds after which an event loop counts as blocked when the process should stop."""

GIVING_BACK = 2.0
"""Seconds that Redis gets to take back the leases of a process that ends immediately; the others expire."""


def run(main: Coroutine[Any, Any, T], new_loop: Callable[[], asyncio.AbstractEventLoop]) -> T:
    """Run a coroutine to its end on a new event loop.

    SystemExit and KeyboardInterrupt leave an event loop immediately, whichever task or callback raised them. Those that
    `main` does not raise are logged, and the loop continues: the task that awaits what raised them gets them too. The
    loop also continues when a job has called its `stop`.
    """
    with asyncio.Runner(loop_factory=new_loop) as runner:
        loop, pid = runner.get_loop(), os.getpid()
        task = loop.create_task(main)
        while True:
            try:
                return loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as error:
                end_if_forked(pid, error)
                if task.done():
                    raise
                logger.error("a job raised %r in the event loop, which continues", error, exc_info=error)
            except RuntimeError as error:
                if task.done() or loop.is_closed():
                    raise
                logger.error("a job stopped the event loop, which continues: %s", error)


class ProcessLifetime:
    """Stops the workers of this process on a signal, or when they are no longer useful; created in the main thread.

    Args:
        grace_period: seconds that running jobs get after a signal.
        threads: concurrent calls of `asyncio.to_thread`; plain functions have threads of their own.
        end: ends the process immediately with a status; tests replace it.
        timings: how long it waits for what.
    """

    def __init__(
        self,
        grace_period: float,
        threads: int,
        end: Callable[[int], Any] = os._exit,
        timings: Timings | None = None,
    ) -> None:
        self._timings = timings or Timings()
        self.status = 0
        self._threads = ReplacingExecutor(threads)
        self._most_lost = LOST_THREADS * threads
        self._grace_period = grace_period
        self._end = end
        self._workers: Sequence[EngineWorker] = ()
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(self._threads)
        _keep_executor(self._loop)
        self._asked: float | None = None
        """When a signal came, in seconds of the monotonic clock."""
        # Not the event loop's own handlers: those wait for the loop, which a job may block.
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        self._keep_signals()
        threading.Thread(target=self._watch, name="end", daemon=True).start()

    async def run(self, workers: Sequence[EngineWorker]) -> None:
        """Run workers until all have stopped; if one fails, the others stop gracefully."""
        self._workers = workers
        for worker in workers:
            worker.on_useless = self._stop_useless
        if self._asked is not None:
            self._stop()
        running = [asyncio.create_task(worker.start()) for worker in workers]
        try:
            await asyncio.gather(*running)
        finally:
            self._stop()
            await asyncio.wait(running)

    def exit(self) -> None:
        """End the process without the interpreter's own shutdown, which waits for threads and tasks that cannot be
        forced to end."""
        _write_queued_logs()
        logging.shutdown()
        sys.stdout.flush()
        self._end(self.status)

    def disown(self) -> None:
        """In a forked process: if the forked code returns to the event loop, the process ends there."""
        self._loop.call_soon(os._exit, EXIT_FORKED)

    def _keep_signals(self) -> None:
        """Reclaim the signals that a job may have taken, for example with its own `add_signal_handler`."""
        for number in SIGNALS:
            if (taken := signal.getsignal(number)) != self._on_signal:
                logger.error("a job replaced the handler of %s (%r): the original is restored", number.name, taken)
                signal.signal(number, self._on_signal)
        self._loop.call_later(self._timings.process_look, self._keep_signals)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._asked is None:
            self._asked = time.monotonic()
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.request_stop()

    def _stop_useless(self) -> None:
        self.status = EXIT_USELESS
        self._stop()

    def _watch(self) -> None:
        while True:
            time.sleep(self._timings.process_look)
            try:
                self._threads.lose_abandoned()
                if self._threads.lost > self._most_lost and not self.status:
                    logger.critical("%d hung calls of asyncio.to_thread: this process stops", self._threads.lost)
                    self._loop.call_soon_threadsafe(self._stop_useless)
                if reason := self._hopeless():
                    self._end_at_once(reason)
                    return
            except Exception:
                logger.exception("could not check whether this process still works, retrying")

    def _hopeless(self) -> str:
        """Why this process ends without its event loop; empty: it need not."""
        late = time.monotonic() - self._grace_period - self._asked if self._asked is not None else 0.0
        if late > self._timings.process_end:
            return f"it was asked to stop, and is still running {late:.0f} s after its grace period"
        beat = loop_monitor.of(self._loop)
        if beat is None:
            return ""
        block, seconds = beat.block, beat.blocked_for()
        who = (block.who if block is not None else "") or "no job"
        if late > 0 and seconds > BLOCKED:
            return (
                f"it was asked to stop, its grace period is over, and {who} blocks its event loop for {seconds:.0f} s"
            )
        if (
            block is None
            or block.seconds < self._timings.hopeless
            or (block.charged is not None and block.charged.is_held)
        ):
            return ""
        return f"{who} blocks its event loop for {block.seconds:.0f} s"

    def _end_at_once(self, reason: str) -> None:
        logger.critical("this worker process ends with status %s, its jobs go back: %s", EXIT_USELESS, reason)
        # Redis may hang too.
        giving = threading.Thread(target=self._give_back, name="give back", daemon=True)
        giving.start()
        giving.join(GIVING_BACK)
        self.status = EXIT_USELESS
        self.exit()

    def _give_back(self) -> None:
        for worker in self._workers:
            worker.give_leases_back()


def _keep_executor(loop: asyncio.AbstractEventLoop) -> None:
    """Keep jobs from ending or replacing the threads of `asyncio.to_thread`, which all jobs share."""
    for name in ("set_default_executor", "shutdown_default_executor"):
        setattr(loop, name, _refused_to_jobs(name, getattr(loop, name)))


def _refused_to_jobs(name: str, method: Callable[..., T]) -> Callable[..., T]:
    def call(*args: Any, **keywords: Any) -> T:
        if current_job.job.get() is not None:
            raise RuntimeError(
                f"a job must not call the event loop's {name}: all jobs of its worker share the threads of "
                "asyncio.to_thread; use an executor of your own, `await loop.run_in_executor(executor, ...)`"
            )
        return method(*args, **keywords)

    return call


def _write_queued_logs() -> None:
    """Let threads write what waits in queues of logging, which Python does at its own end (Litestar's default)."""
    names = [None, *logging.root.manager.loggerDict]
    handlers = {handler for name in names for handler in logging.getLogger(name).handlers}
    for listener in {getattr(handler, "listener", None) for handler in handlers}:
        if listener is not None:
            # Python 3.11's fails when it has been stopped before.
            with suppress(AttributeError):
                listener.stop()


def _as_any_program() -> None:
    """In a forked process: a signal ends it, so that it never continues with the jobs and connections of its worker."""
    for number in SIGNALS:
        process = getattr(signal.getsignal(number), "__self__", None)
        if isinstance(process, ProcessLifetime):
            signal.signal(number, signal.SIG_DFL)
            process.disown()
    _unmask()


def _mask() -> None:
    """Block signals while a process is forked: a signal that the new process gets immediately would be lost."""
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _unmask() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


_forking = threading.local()

os.register_at_fork(before=_mask, after_in_parent=_unmask, after_in_child=_as_any_program)
