"""Attempt: one run of a leased job, from its hooks to its outcome."""

import asyncio
import dataclasses
import logging
import math
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any

from saq.job import Status
from saq.utils import now

from saqueduct.common.exception_groups import is_cancellation
from saqueduct.common.text import clipped, error_text
from saqueduct.queue.core import QueueCore
from saqueduct.queue.outcomes import Outcome
from saqueduct.tasks.completion import decided
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_changes import keep_own, make_storable, repair
from saqueduct.tasks.redaction import scrub
from saqueduct.tasks.threads import stack_of
from saqueduct.worker import misfit
from saqueduct.worker.attempt_outcomes import AttemptOutcomes
from saqueduct.worker.failure_log import info
from saqueduct.worker.functions import TaskFunctions
from saqueduct.worker.leases import LeaseKeeper
from saqueduct.worker.loop_monitor import Block, Pulse

logger = logging.getLogger("saqueduct.worker")

STACK = 20
"""Frames of a job that hangs, in its error."""


Hook = Callable[[Any], Awaitable[Any]]
"""SAQ's: called with the job's context."""


@dataclasses.dataclass(frozen=True, slots=True)
class Runtime:
    """What all attempts of one worker share.

    Attributes:
        core: of the queue.
        loop: in which they run.
        pulse: the clock of the event loop.
        leases: renews the leases of the worker.
        functions: of the tasks.
        context: of the worker; each job gets a copy.
        before, after: hooks of the worker around each attempt.
        outcomes: of attempts that do not complete.
        settle: called at the end of each attempt with its outcome; None: there is nothing to write.
        give_up: called with an attempt that ignores its cancellation.
        is_dying: True when the event loop ends, which cancels all attempts.
    """

    core: QueueCore
    loop: asyncio.AbstractEventLoop
    pulse: Pulse
    leases: LeaseKeeper
    functions: TaskFunctions
    context: Mapping[str, Any]
    before: Sequence[Hook]
    after: Sequence[Hook]
    outcomes: AttemptOutcomes
    settle: Callable[["Attempt", Outcome | None], None]
    give_up: Callable[["Attempt"], None]
    is_dying: Callable[[], bool]


class Attempt:
    """Runs one attempt of a job in a task of the event loop.

    Args:
        runtime: of the worker.
        job: leased by this worker.
    """

    # Of the class until they change, which they seldom do: a seventh of what it costs to make an attempt.
    deadline = math.inf
    """By `Pulse.fair`; `Deadlines` cancels what runs longer, and gives up what ignores that for `timeout_grace`."""
    begun = 0.0
    """When it began, by `Pulse.fair`; 0: it has not."""
    _heard = 0.0
    """When `Deadlines` noticed last that the job had reported on itself, by `Pulse.fair`; 0: never."""
    blocked = 0.0
    """Seconds for which it has blocked the event loop."""
    _block: Block | None = None
    """How it did that last."""
    _settled = False
    _lost = False
    _released = False
    _timed_out = ""
    _aborted: str | None = None

    def __init__(self, runtime: Runtime, job: EngineJob) -> None:
        self.job = job
        self.held = job.key, job.lease
        """As its worker holds the job."""
        self._runtime = runtime
        self._touched = job.touched
        """Changes whenever the job reports on itself; by the clock of whoever did that, so that the value has no other
        meaning."""
        # Not with a task factory that is installed: one that starts eagerly would see this object half initialized.
        self.task = asyncio.Task(self._run(), loop=runtime.loop, name=job.key)

    def abort(self, reason: str) -> None:
        """Cancel it; it ends aborted."""
        if self._aborted is None:
            self._aborted = reason
            self._cancel()

    def release(self) -> None:
        """Cancel it; the job goes back to the queue."""
        self._released = True
        self._cancel()

    def time_out(self, error: str) -> None:
        """Cancel it; that counts as a failure."""
        if not self._timed_out and not self._called_off:
            self._timed_out = error
            self._cancel()

    def lose(self) -> None:
        """Cancel it; another worker has the job, and nothing is written."""
        self._lost = self.job.given_up = True
        self._cancel()

    def overdue(self) -> None:
        """Its time is over: the timeout, or the time that it gets to end after its cancellation."""
        if self._timed_out or self._called_off:
            self.give_up()
        else:
            self.time_out(self.lateness)

    def give_up(self) -> None:
        """Settle it although it still runs: it ignores its cancellation. Any later outcome is discarded."""
        where = stack_of(self.job) or _suspended_at(self.task)
        logger.error(
            "the job %s of %s ignores its cancellation and is abandoned; it hangs here",
            self.job.key, self.job.function, extra={"stack": where.rstrip()},
        )  # fmt: skip
        if self._timed_out:
            self._timed_out += f"; it ignores its cancellation and was given up, here:\n{where}"
        # What still runs keeps the job that it has, and changes nothing of what is written and recorded.
        abandoned, self.job = self.job, copy(self.job)
        abandoned.given_up = True
        self._runtime.give_up(self)
        self._settle(self._in_any_case(partial(self._cancelled, {}, asyncio.CancelledError())))
        self.job = abandoned

    def charge(self, block: Block, seconds: float) -> None:
        """Record that it has blocked the event loop for so many more seconds, which count for no other job. Called from
        the thread."""
        self._block = block
        self.blocked += seconds
        self.deadline -= seconds
        self._runtime.leases.charge(self.held, seconds)

    @property
    def is_held(self) -> bool:
        """False once its lease was given up or lost, or its outcome is written."""
        return self._runtime.leases.holds(self.held)

    @property
    def lateness(self) -> str:
        """Why its time is over, if it has a timeout."""
        text = f"it ran longer than {self.job.timeout} s"
        if self._block is None:
            return text
        stack = self._block.stack.encode("utf-8", "backslashreplace").decode()
        return f"{text}; it blocked the event loop of its worker for {self.blocked:.1f} s, here:\n{stack}"

    @property
    def _called_off(self) -> bool:
        return self._lost or self._released or self._aborted is not None

    @property
    def running_for(self) -> float:
        """Seconds since it has begun, without those for which others blocked the event loop; 0: it has not."""
        return self._runtime.pulse.fair() - self.begun if self.begun else 0.0

    def silence(self) -> float:
        """Seconds since it has begun, or since a look at it noticed that it had called `update`."""
        if self.job.touched != self._touched:
            self._touched = self.job.touched
            self._heard = self._runtime.pulse.fair()
        return self._runtime.pulse.fair() - max(self._heard, self.begun) if self.begun else 0.0

    async def _run(self) -> None:
        runtime = self._runtime
        self.begun = begun = runtime.pulse.fair()
        deadline = runtime.leases.begin(self.held, begun, self.job.timeout)
        if deadline is None:
            self._settle(None)
            return
        self.deadline = deadline
        context: Any = {**runtime.context, "job": self.job}
        try:
            outcome = await self._outcome(context)
        except GeneratorExit as error:
            # Of a future: it closes what awaits that, and what the coroutine below returns is lost.
            if self._is_closed(error):
                raise
            outcome = self._in_any_case(partial(self._failed, context, error))
        try:
            for hook in runtime.after:
                await hook(context)
        except BaseException as error:
            if self._is_closed(error):
                raise
            logger.exception("an after_process hook failed")
        self._settle(outcome)

    async def _outcome(self, context: Any) -> Outcome | None:
        runtime, job = self._runtime, self.job
        try:
            for hook in runtime.before:
                await hook(context)
            if job.offered:
                await decided(job)
            return self._complete(await runtime.functions.get(job.function)(context, **(job.kwargs or {})))
        except BaseException as error:
            if self._is_closed(error):
                raise
            # An exception from its clean-up is no failure: the canceller decides what happens to the job.
            if self._called_off or is_cancellation(error):
                return self._in_any_case(partial(self._cancelled, context, error))
            reached = self._misfit if misfit.is_misfit(error, job, runtime.functions) else self._failed
            return self._in_any_case(partial(reached, context, error))

    def _is_closed(self, error: BaseException) -> bool:
        """True when the interpreter closes the coroutine; a GeneratorExit of the task itself is its failure."""
        return isinstance(error, GeneratorExit) and asyncio.current_task(self._runtime.loop) is not self.task

    def _in_any_case(self, reached: Callable[[], Outcome | None]) -> Outcome | None:
        """The outcome, or a failure if what the task left in its job allows none: the slot must become free."""
        try:
            make_storable(self._runtime.core.serialize, self.job)
            self._keep_own()
            return reached()
        except Exception as error:
            return self._end_with(error)

    def _end_with(self, error: Exception) -> Outcome:
        """The end of a job for which no outcome can be built, with the error that explains why."""
        try:
            repair(self.job)
            outcome = self._runtime.outcomes.ended(self.job, Status.FAILED, clipped(scrub(error_text(error))))
        except Exception:
            outcome = Outcome.unreadable(*self.held, "")
        # What logging raises, as a filter may, costs no slot.
        with suppress(Exception):
            logger.error("could not write an outcome of the job %s", self.held[0], exc_info=info(error))
        return outcome

    def _cancel(self) -> None:
        self.deadline = self._runtime.pulse.fair() + self._runtime.core.timings.timeout_grace
        self.task.cancel()
        if not self.begun:
            # Cancelled before its first step, it never produces an outcome.
            self._settle(self._in_any_case(partial(self._cancelled, {}, asyncio.CancelledError())))

    def _settle(self, outcome: Outcome | None) -> None:
        if not self._settled:
            self._settled = True
            self._runtime.settle(self, outcome)

    def _keep_own(self) -> None:
        job = self.job
        # The outcome is written with these values, even if the task has changed them.
        job.key, job.lease = self.held
        if job.meta or job.own or job.meta is None:
            keep_own(job)

    def _complete(self, result: Any) -> Outcome:
        job = self.job
        # As `_keep_own`, a call less.
        job.key, job.lease = self.held
        if job.meta or job.own or job.meta is None:
            keep_own(job)
        job.status, job.result, job.error, job.completed = Status.COMPLETE, result, None, now()
        job.progress = 1.0
        return Outcome.finish(self._runtime.core, job)

    def _cancelled(self, context: Any, cancelled: BaseException) -> Outcome | None:
        """What its canceller asked for; a task that cancelled itself has failed. None: there is nothing to write."""
        if self._lost:
            return None
        outcomes = self._runtime.outcomes
        if self._aborted is not None:
            return outcomes.ended(self.job, Status.ABORTED, self._aborted)
        if self._released and not self._timed_out:
            return outcomes.released(self.job)
        if not self._timed_out:
            # The task cancelled itself; but for a dying event loop, which cancels all tasks.
            return outcomes.orphaned(self.job) if self._runtime.is_dying() else self._failed(context, cancelled)
        error = TimeoutError(self._timed_out)
        # Where it was when its time was over.
        error.__cause__ = cancelled
        return self._failed(context, error)

    def _misfit(self, context: Any, error: BaseException) -> Outcome:
        outcome = self._runtime.outcomes.misfit(self.job, error)
        return self._failed(context, error) if outcome is None else outcome

    def _failed(self, context: Any, error: BaseException) -> Outcome:
        late_after = self.running_for if self._timed_out else None
        return self._runtime.outcomes.failed(self.job, context, error, late_after)


def _suspended_at(task: "asyncio.Task[Any]") -> str:
    """Where a task of the event loop waits."""
    frames = []
    waits: Any = task.get_coro()
    while waits is not None and (frame := getattr(waits, "cr_frame", None) or getattr(waits, "gi_frame", None)):
        frames.append((frame, frame.f_lineno))
        waits = getattr(waits, "cr_await", None) or getattr(waits, "gi_yieldfrom", None)
    return "".join(traceback.StackSummary.extract(frames).format()[-STACK:])
