"""Attempt: one run of a leased job, from its hooks to its outcome."""

import asyncio
import logging
import math
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from saq.job import Status
from saq.utils import now

from app.queue.engine import misfit
from app.queue.engine.job import EngineJob, failure, mend
from app.queue.engine.misfit import MISFITS
from app.queue.engine.outcomes import Outcome
from app.queue.errors import Retry
from app.queue.exception_groups import find, is_cancellation
from app.queue.meta import AT_MOST_ONCE, EXPIRES_AT, MISFIT_SINCE
from app.queue.redaction import scrub

if TYPE_CHECKING:
    from app.queue.engine.slots import Slots

logger = logging.getLogger("app.worker")

HANDED_BACK = "cancelled"
"""The error of a job that a stopping worker hands back; the text is SAQ's."""


PROCESS_ENDS = (KeyboardInterrupt, GeneratorExit)
"""What a task does not raise itself: the loop ends, and with it this worker."""


class Attempt:
    """Runs one attempt of a job in a task of the event loop.

    Args:
        slots: where it runs.
        job: leased by this worker.
    """

    # Of the class until they change, which they seldom do: a seventh of what it costs to make an attempt.
    deadline = math.inf
    """By the clock of `LeaseKeeper.awake`; `Limits` cancels what runs longer."""
    _begun = 0.0
    """When it began, by the clock of the event loop; 0: it has not."""
    _settled = False
    _lost = False
    _handed_back = False
    _timed_out = ""
    _aborted: str | None = None

    def __init__(self, slots: "Slots", job: EngineJob) -> None:
        self.job = job
        self.held = job.key, job.lease
        """As its worker holds the job."""
        self._slots = slots
        self._touched = job.touched
        """By the clock of whoever told of the job last."""
        # Not by a task factory of somebody's: one that begins at once would find this object half made.
        self.task = asyncio.Task(self._run(), loop=slots.loop, name=job.key)

    def abort(self, reason: str) -> None:
        """Cancel it; it ends aborted."""
        if self._aborted is None:
            self._aborted = reason
            self._cancel()

    def hand_back(self) -> None:
        """Cancel it; the job goes back to the queue."""
        self._handed_back = True
        self._cancel()

    def time_out(self, error: str) -> None:
        """Cancel it; that counts as a failure."""
        if not self._timed_out:
            self._timed_out = error
            self._cancel()

    def lose(self) -> None:
        """Cancel it; another worker has the job, and nothing is written."""
        self._lost = True
        self._cancel()

    @property
    def _called_off(self) -> bool:
        return self._lost or self._handed_back or self._aborted is not None

    @property
    def running_for(self) -> float:
        """Seconds since it has begun, by no clock that others set; 0: it has not."""
        return self._slots.loop.time() - self._begun if self._begun else 0.0

    @property
    def silent_for(self) -> float:
        """Seconds since it has begun, or called `update` last."""
        told = self.job.touched if self.job.touched != self._touched else 0
        return min(self.running_for, (now() - told) / 1000)

    def abandon(self) -> None:
        """Settle it although it still runs: it ignores its cancellation."""
        self._settle(self._whatever_happens(self._given_back))

    async def _run(self) -> None:
        slots = self._slots
        self._begun = slots.loop.time()
        deadline = slots.keeper.begin(self.held, self.job.timeout)
        if deadline is None:
            self._settle(None)
            return
        self.deadline = deadline
        context: Any = {**slots.worker.context, "job": self.job}
        outcome = await self._outcome(context)
        try:
            for hook in slots.worker.after_process or ():
                await hook(context)
        except PROCESS_ENDS:
            raise
        except BaseException:
            logger.exception("an after_process hook failed")
        self._settle(outcome)

    async def _outcome(self, context: Any) -> Outcome | None:
        worker, job = self._slots.worker, self.job
        try:
            for hook in worker.before_process or ():
                await hook(context)
            return self._complete(await worker.function_of(job.function)(context, **(job.kwargs or {})))
        except PROCESS_ENDS:
            raise
        except BaseException as error:
            # What its clean-up raises is no failure: whoever cancels it says what becomes of it.
            cancelled = self._called_off or is_cancellation(error)
            reached = self._cancelled if cancelled else self._misfit if isinstance(error, MISFITS) else self._failed
            return self._whatever_happens(partial(reached, context, error))

    def _whatever_happens(self, reached: Callable[[], Outcome | None]) -> Outcome | None:
        """The outcome, or a failure where none can be made of what the task left in its job: its slot must get free."""
        try:
            return reached()
        except Exception as error:
            logger.exception("the job %s of %s has no outcome that can be written", self.job.key, self.job.function)
            job = self.job
            mend(job)
            try:
                return self._end(Status.FAILED, scrub("".join(traceback.format_exception(error))))
            except Exception:
                return Outcome.unreadable(job.key, job.lease, "")

    def _cancel(self) -> None:
        self.task.cancel()
        if not self._begun:
            # Cancelled before its first step, it never comes to an outcome.
            self._settle(self._cancelled({}, asyncio.CancelledError()))

    def _settle(self, outcome: Outcome | None) -> None:
        if not self._settled:
            self._settled = True
            self._slots.settle(self, outcome)

    def _complete(self, result: Any) -> Outcome:
        job = self.job
        job.status, job.result, job.error, job.completed = Status.COMPLETE, result, None, now()
        job.progress = 1.0
        return Outcome.finish(self._slots.queue, job)

    def _cancelled(self, context: Any, cancelled: BaseException) -> Outcome | None:
        """What its canceller wants; a task that cancelled itself has failed. None: nothing is to be written."""
        if self._lost:
            return None
        if self._aborted is not None:
            return self._end(Status.ABORTED, self._aborted)
        if self._handed_back:
            return self._given_back()
        if not self._timed_out:
            return self._failed(context, cancelled)
        error = TimeoutError(self._timed_out)
        # Where it was when its time was over.
        error.__cause__ = cancelled
        return self._failed(context, error)

    def _given_back(self) -> Outcome:
        job = self.job
        if job.meta.get(AT_MOST_ONCE):
            return self._end(Status.FAILED, "its worker stopped while it ran, and it runs at most once")
        job.attempts -= 1
        self._wait_again(HANDED_BACK)
        return Outcome.hand_back(self._slots.queue, job)

    def _misfit(self, context: Any, error: BaseException) -> Outcome:
        job = self.job
        seconds = misfit.wait(job, self._slots.worker.deploy_window)
        if seconds is None:
            job.retries = job.attempts
            return self._failed(context, error)
        misfit.put_back(job, error, seconds)
        return Outcome.postpone(self._slots.queue, job, seconds)

    def _failed(self, context: Any, error: BaseException) -> Outcome:
        job = self.job
        # It may be what failed: a result that cannot be encoded.
        job.result = None
        context["exception"] = error
        text = scrub("".join(traceback.format_exception(error)))
        again = job.retryable and self._slots.worker.retries_after(job.function, error)
        logger.error("job %s of %s failed%s", job.key, job.function, ", tried again" if again else "", exc_info=error)
        if not again:
            return self._end(Status.FAILED, text)
        delay = _delay(job, find(error, Retry))
        self._wait_again(text)
        return Outcome.retry(self._slots.queue, job, delay)

    def _wait_again(self, error: str) -> None:
        job = self.job
        job.failure = failure(job, error)
        # It has begun in time.
        job.meta.pop(EXPIRES_AT, None)
        job.meta.pop(MISFIT_SINCE, None)
        job.status, job.error, job.completed, job.started = Status.QUEUED, error, 0, 0
        job.progress, job.touched = 0.0, now()

    def _end(self, status: Status, error: str) -> Outcome:
        job = self.job
        job.status, job.error, job.result, job.completed = status, error, None, now()
        return Outcome.finish(self._slots.queue, job)


def _delay(job: EngineJob, asked: Sequence[Retry]) -> float:
    """Seconds until the next attempt: the longest that is asked for, or what the job's options say."""
    usual = job.next_retry_delay()
    return max((usual if each.delay is None else each.delay for each in asked), default=usual)
