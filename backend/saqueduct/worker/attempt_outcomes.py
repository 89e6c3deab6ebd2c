"""AttemptOutcomes: what becomes of a job whose attempt did not complete."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from saq.job import Status
from saq.utils import now

from saqueduct.common.exception_groups import find
from saqueduct.common.text import clipped, error_text
from saqueduct.errors import Retry, Throttled
from saqueduct.queue.core import QueueCore
from saqueduct.queue.outcomes import Outcome
from saqueduct.tasks.job import EngineJob, failure, ran_alone
from saqueduct.tasks.job_meta import AT_MOST_ONCE, EXPIRES_AT, MISFIT_SINCE, OUTAGE, RECOVERIES
from saqueduct.tasks.redaction import scrub
from saqueduct.worker import misfit, throttling
from saqueduct.worker.failure_log import log_failure
from saqueduct.worker.functions import TaskFunctions
from saqueduct.worker.postponement import pause_of, reason_of, reason_of_timeout

logger = logging.getLogger("saqueduct.worker")

RELEASED = "cancelled"
"""The error of a job that a stopping worker releases; the text is SAQ's."""

EXITS = {
    SystemExit: "The task called sys.exit or raised SystemExit: that fails its job and ends no worker.",
    KeyboardInterrupt: "The task raised KeyboardInterrupt: that fails its job and ends no worker.",
}
"""Message for errors that would end a program."""


class AttemptOutcomes:
    """The outcomes of attempts that did not complete: another attempt, a wait, or the end of the job.

    Each method changes the job as its outcome says.

    Args:
        core: of the queue.
        functions: of the tasks, with their rules.
        deploy_window: seconds for which a job that does not fit this code goes back, see `misfit`.
        outage_limit: seconds for which a job is postponed whose attempts meet an outage.
        version: of the application's code, recorded with what failed; empty: unknown.
    """

    def __init__(
        self,
        core: QueueCore,
        functions: TaskFunctions,
        *,
        deploy_window: float,
        outage_limit: float,
        version: str = "",
    ) -> None:
        self._core = core
        self._version = version
        self._functions = functions
        self._deploy_window = deploy_window
        self._outage_limit = outage_limit

    def ended(self, job: EngineJob, status: Status, error: str) -> Outcome:
        """The job has ended with an error."""
        job.status, job.error, job.result, job.completed = status, error, None, now()
        job.version = self._version
        return Outcome.finish(self._core, job)

    def released(self, job: EngineJob) -> Outcome:
        """The worker stops: the job goes back at no cost."""
        if job.meta.get(AT_MOST_ONCE):
            return self.ended(job, Status.FAILED, "its worker stopped while it ran, and it runs at most once")
        job.attempts -= 1
        self._wait_again(job, RELEASED)
        return Outcome.release(self._core, job)

    def orphaned(self, job: EngineJob) -> Outcome:
        """Its event loop ends. It may be what ends it, by cancelling all tasks: that counts as a recovery."""
        recoveries, most = int(job.meta.get(RECOVERIES, 0)) + 1, self._core.max_recoveries
        if recoveries > most and ran_alone(job.lease):
            return self.ended(job, Status.FAILED, f"the event loop of its worker ended {recoveries} times while it ran")
        job.meta[RECOVERIES] = min(recoveries, most)
        return self.released(job)

    def misfit(self, job: EngineJob, error: BaseException) -> Outcome | None:
        """The job does not fit this code: it waits for a worker with another version; None: it has waited too long."""
        seconds = misfit.wait(job, self._deploy_window)
        if seconds is None:
            job.retries = job.attempts
            return None
        misfit.put_back(job, error, seconds)
        return Outcome.postpone(self._core, job, seconds)

    def failed(self, job: EngineJob, context: Any, error: BaseException, late_after: float | None) -> Outcome:
        """The attempt has raised an error.

        Args:
            job: its job.
            context: its context, which gets the error.
            error: what it raised.
            late_after: seconds that it ran until its time was over; None: it was in time.
        """
        # It may be what failed: a result that cannot be encoded.
        job.result = None
        keys = throttling.keys_of(job, error, self._functions)
        context["exception"] = error = throttling.known(error, keys)
        throttled = throttling.longest(error)
        if throttled is None:
            throttling.end(job)
            return self._after_failure(job, error, late_after)
        closed = throttling.closed_by(throttled, keys)
        if self._waits_for(job, throttled, error):
            return self._throttled(job, *closed, error)
        return self._after_failure(job, error, late_after).closing(*closed)

    def _after_failure(self, job: EngineJob, error: BaseException, late_after: float | None) -> Outcome:
        if reason := self._outage(job, error, late_after):
            if (pause := pause_of(job, self._outage_limit, self._core.timings)) is not None:
                return self._postponed(job, reason, pause)
        else:
            job.meta.pop(OUTAGE, None)
        for exit_, note in EXITS.items():
            if isinstance(error, exit_) and note not in getattr(error, "__notes__", ()):
                error.add_note(note)
        text = clipped(scrub(error_text(error)))
        again = job.retryable and self._functions.retries_after(job.function, error)
        with suppress(Exception):
            log_failure(job, error, again=again)
        if not again:
            return self.ended(job, Status.FAILED, text)
        delay = _delay(job, find(error, Retry))
        self._wait_again(job, text)
        return Outcome.retry(self._core, job, delay)

    def _waits_for(self, job: EngineJob, throttled: Throttled, error: BaseException) -> bool:
        if self._functions.is_final(job.function, error):
            return False
        return throttling.costs_nothing(job, throttled, self._outage_limit)

    def _throttled(self, job: EngineJob, gate: str, seconds: float, error: BaseException) -> Outcome:
        """The job goes back as if it had never been leased: it may still expire."""
        expires_at = job.meta.get(EXPIRES_AT)
        job.attempts -= 1
        self._wait_again(job, f"throttled: {'; '.join(map(str, find(error, Throttled)))}")
        if expires_at is not None:
            job.meta[EXPIRES_AT] = expires_at
        return Outcome.throttle(self._core, job, gate, seconds)

    def _outage(self, job: EngineJob, error: BaseException, late_after: float | None) -> str:
        """How an outage caused the failure; empty: it did not, or the job must not be retried."""
        reason = reason_of(error) or ("" if late_after is None else reason_of_timeout(late_after))
        if not reason or job.meta.get(AT_MOST_ONCE) or self._functions.is_final(job.function, error):
            return ""
        return reason

    def _postponed(self, job: EngineJob, reason: str, pause: float) -> Outcome:
        logger.warning("job %s of %s is postponed for %.1f s: %s", job.key, job.function, pause, reason)
        job.attempts -= 1
        self._wait_again(job, f"postponed: {reason}")
        return Outcome.postpone(self._core, job, pause)

    def _wait_again(self, job: EngineJob, error: str) -> None:
        job.version = self._version
        job.failure = failure(job, error)
        # It started in time.
        job.meta.pop(EXPIRES_AT, None)
        job.meta.pop(MISFIT_SINCE, None)
        job.status, job.error, job.completed, job.started = Status.QUEUED, error, 0, 0
        job.progress, job.touched = 0.0, now()


def _delay(job: EngineJob, asked: Sequence[Retry]) -> float:
    """Seconds until the next attempt: the longest that is asked for, or what the job's options say."""
    usual = job.next_retry_delay()
    return max((usual if each.delay is None else each.delay for each in asked), default=usual)
