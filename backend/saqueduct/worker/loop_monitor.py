"""Pulse: the clock of the workers of one event loop, and the monitor of what blocks that loop.

The time of a sleeping machine or a SIGSTOP must not count for a job, nor the time for which another job blocks the
event loop. A thread that does nothing else measures both: one that also waits for Redis could not tell a suspended
process from a slow server, and asks the loop for an answer each time it wakes. While there is no answer, it samples
what the loop is doing, and charges the time to that job alone.
"""

import asyncio
import contextvars
import gc
import logging
import math
import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from saq import Job

logger = logging.getLogger("saqueduct.worker")

NAP = 0.1
"""Seconds that the thread sleeps at a time: the precision with which it knows how long the process was suspended."""

SUSPENSION = 1.0
"""Seconds of delay from which the thread concludes that the process was suspended, rather than just busy."""

LAG_WINDOW = 30.0
"""Seconds for which the longest delay of the event loop is remembered: metrics are scraped about as often."""

STACK = 20
"""Stack frames of what blocks the event loop, innermost first."""


class Charged(Protocol):
    """A running job, as the pulse charges it."""

    job: Any

    @property
    def is_held(self) -> bool:
        """False once its lease was given up."""
        ...

    def charge(self, block: "Block", seconds: float) -> None:
        """Subtract the seconds for which the job blocked the event loop from its own time."""


Find = Callable[["asyncio.Task[Any] | None", Job | None], Charged | None]
"""Finds a running job by its task, or by what its context holds; called from the thread."""


class Block:
    """A single step of the event loop that takes long, as far as the thread has observed it.

    Attributes:
        task: of the event loop; None: a callback.
        charged: the job whose step it is; None: unknown.
        seconds: how long it has taken.
        stack: where the event loop is, or was last.
    """

    def __init__(self, task: "asyncio.Task[Any] | None", charged: Charged | None) -> None:
        self.task = task
        self.charged = charged
        self.seconds = 0.0
        self.stack = ""
        self.noticed = False

    @property
    def who(self) -> str:
        """Key and task of the job that blocks; empty: unknown."""
        return f"job {self.charged.job.key} of {self.charged.job.function}" if self.charged is not None else ""


class Pulse:
    """The clock of one event loop. `join` gives the one that the workers of a loop share.

    Args:
        loop: which it watches; runs in the thread that makes this.
        variable: holds the job in the context of everything that a job runs, such as its child tasks.
        notice: seconds for which the event loop must be blocked before a line is logged.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        variable: "contextvars.ContextVar[Job | None] | None" = None,
        notice: float = 2.0,
    ) -> None:
        self._notice = notice
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._variable = variable
        self.finders: list[Find] = []
        """How to find a running job; one for each worker."""
        self._block: Block | None = None
        self._suspended = 0.0
        self._blocked = 0.0
        """Seconds for which the loop was blocked: all finished blocks, and the time so far of the current one."""
        self._over = 0.0
        """Of those, the finished ones."""
        self._looked = self._asked = 0.0
        """By `awake`: when the thread last looked, and when it last asked the loop for an answer."""
        self._answered = True
        self._lag = self._lag_at = 0.0
        """The longest delay of an answer in LAG_WINDOW, and when it was, by `awake`."""
        self._counting = threading.Lock()
        self._due = math.inf
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()

    def awake(self) -> float:
        """Seconds of the monotonic clock, without those for which the process was suspended."""
        return monotonic() - self._suspended

    def fair(self) -> float:
        """As `awake`, without the seconds for which the event loop was blocked; jobs are timed with it."""
        return monotonic() - self._suspended - self._blocked

    def stopped_for(self) -> float:
        """Seconds so far for which the process was suspended, or the event loop blocked."""
        return self._suspended + self._blocked

    def certain(self) -> float | None:
        """As `awake`; None while that may be wrong: the process was suspended, and the thread has not woken since."""
        suspended = self._suspended
        current = monotonic()
        if current > self._due + SUSPENSION or self._suspended != suspended:
            return None
        return current - suspended

    def certainly_fair(self) -> float | None:
        """As `fair`; None while that may be wrong."""
        current = self.certain()
        return None if current is None else current - self._blocked

    @property
    def block(self) -> Block | None:
        """What blocks the event loop now; None: nothing does."""
        # The loop may be free again without the thread having noticed.
        return self._block if self._blocked > self._over else None

    def blocked_for(self) -> float:
        """Seconds for which the event loop has not answered; 0: it answers."""
        return self._blocked - self._over

    def lag(self) -> float:
        """The longest time in the last LAG_WINDOW seconds that the event loop took to answer, or has not answered."""
        recent = self._lag if self.awake() - self._lag_at < LAG_WINDOW else 0.0
        return max(recent, self.blocked_for())

    def _run(self) -> None:
        while not self._stop.is_set():
            due = self._due = monotonic() + NAP
            self._stop.wait(NAP)
            if (late := monotonic() - due) > SUSPENSION:
                self._suspended += late
            try:
                self._look()
            except Exception:
                logger.exception("could not check the event loop, retrying")

    def _look(self) -> None:
        if self._loop.is_closed():
            return
        current = self.awake()
        with self._counting:
            answered = self._answered
            if answered:
                self._asked, self._answered = current, False
            else:
                self._blocked = self._over + current - self._asked
        if not answered:
            self._charge(current - self._looked)
        else:
            self._end_block()
            self._loop.call_soon_threadsafe(self._answer)
        self._looked = current

    def _answer(self) -> None:
        with self._counting:
            self._answered = True
            current = self.certain()
            if current is not None:
                self._note_lag(current, current - self._asked)
            # Shorter ones are iterations of a busy loop.
            if current is not None and (took := current - self._asked) >= NAP:
                self._over += took
            self._blocked = self._over

    def _note_lag(self, current: float, took: float) -> None:
        if took >= self._lag or current - self._lag_at >= LAG_WINDOW:
            self._lag, self._lag_at = took, current

    def _charge(self, seconds: float) -> None:
        task = asyncio.current_task(self._loop)
        block = self._block
        if block is None or block.task is not task:
            block = self._block = Block(task, self._find(task))
        block.seconds += seconds
        frame = sys._current_frames().get(self._loop_thread)
        if block.seconds < self._notice and block.charged is None:
            return
        block.stack = "".join(traceback.format_stack(frame, STACK)) if frame is not None else ""
        if block.charged is not None:
            block.charged.charge(block, seconds)
        if block.seconds >= self._notice and not block.noticed:
            block.noticed = True
            logger.error(
                "the event loop has not answered for %.1f s, no other job can continue; %s blocks it",
                self.blocked_for(), block.who or "no job", extra={"stack": block.stack.rstrip()},
            )  # fmt: skip

    def _find(self, task: "asyncio.Task[Any] | None") -> Charged | None:
        job = self._job_of(task) if task is not None else None
        for find in list(self.finders):
            if (found := find(task, job)) is not None:
                return found
        return None

    def _job_of(self, task: "asyncio.Task[Any]") -> Job | None:
        """The job in whose context a task runs; a task of Python 3.11 keeps its context to itself."""
        if self._variable is None:
            return None
        contexts = [each for each in gc.get_referents(task) if isinstance(each, contextvars.Context)]
        return contexts[0].get(self._variable) if contexts else None

    def _end_block(self) -> None:
        block, self._block = self._block, None
        if block is not None and block.noticed:
            logger.warning(
                "the event loop answers again; %s blocked it for %.1f s", block.who or "no job", block.seconds
            )


_pulses: dict[asyncio.AbstractEventLoop, tuple[Pulse, int]] = {}


def join(find: Find, variable: "contextvars.ContextVar[Job | None]", notice: float) -> Pulse:
    """The pulse of the running event loop, for one more worker, until `leave`; the first one's `notice` holds."""
    loop = asyncio.get_running_loop()
    pulse, workers = _pulses.get(loop, (None, 0))
    if pulse is None:
        pulse = Pulse(loop, variable, notice)
        pulse.start()
    _pulses[loop] = pulse, workers + 1
    pulse.finders.append(find)
    return pulse


def of(loop: asyncio.AbstractEventLoop) -> Pulse | None:
    """The pulse of an event loop; None: no worker runs there."""
    return _pulses.get(loop, (None, 0))[0]


def leave(pulse: Pulse, find: Find) -> None:
    """A worker has ended; the pulse ends with the last one."""
    pulse.finders.remove(find)
    loop = asyncio.get_running_loop()
    workers = _pulses[loop][1] - 1
    if workers:
        _pulses[loop] = pulse, workers
    else:
        del _pulses[loop]
        pulse.stop()
