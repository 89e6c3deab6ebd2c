"""Results of blocking calls: of a job in the queue, and of a task that was run here."""

from typing import Generic, Literal, TypeVar, overload

from saq import Job
from saq.job import TERMINAL_STATUSES, Status

from app.queue.blocking.portal import Portal
from app.queue.errors import GiveUp, JobAborted, JobFailed, Retry
from app.queue.exception_groups import find
from app.queue.handle import JobHandle

R = TypeVar("R")

State = Literal["PENDING", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED"]
"""Celery's names of what a job can be."""

_STATES: dict[Status, State] = {
    Status.NEW: "PENDING",
    Status.QUEUED: "PENDING",
    Status.ACTIVE: "STARTED",
    Status.ABORTING: "STARTED",
    Status.COMPLETE: "SUCCESS",
    Status.FAILED: "FAILURE",
    Status.ABORTED: "REVOKED",
}


class Result(Generic[R]):
    """A job, and its result to come: `JobHandle` for code without an event loop. Usable in any thread.

        result = registry.cleanup_sessions.delay(days_old=7)
        result.get(timeout=10)["deleted_count"]

    All but `id` ask Redis, and raise:
        JobNotFound: the job is not known, or its outcome is not kept (any more).
        QueueUnavailable: Redis did not answer.
        CalledInEventLoop, ConfigurationError: see `Portal`.
    """

    def __init__(self, portal: Portal, handle: JobHandle[R], *, ignored: bool = False) -> None:
        self._portal = portal
        self._handle = handle
        self._ignored = ignored

    @property
    def id(self) -> str:
        """The job's key."""
        return self._handle.key

    @property
    def status(self) -> State:
        """Where the job stands: RETRY is a job that waits for another attempt, REVOKED one that was aborted or was
        not started before it expired."""
        return _state(self._portal.run(self._handle.refresh))

    @property
    def state(self) -> State:
        """The same as `status`."""
        return self.status

    def ready(self) -> bool:
        """True when the job has ended, however."""
        return self._portal.run(self._handle.done)

    def successful(self) -> bool:
        """True when the job has ended with a result."""
        return self._portal.run(self._handle.successful)

    def failed(self) -> bool:
        """True when the job has ended with an error."""
        return self.status == "FAILURE"

    @property
    def result(self) -> R | Exception | None:
        """What the job returned; the error when it failed or was revoked; None while it has not ended. Never waits."""
        return self._portal.run(self._outcome)

    @property
    def traceback(self) -> str | None:
        """The worker's traceback of the last failed attempt."""
        job = self._portal.run(self._handle.refresh)
        return job.error if job.status is Status.FAILED or _state(job) == "RETRY" else None

    @overload
    def get(self, timeout: float | None = None, propagate: Literal[True] = True) -> R: ...
    @overload
    def get(self, timeout: float | None = None, *, propagate: Literal[False]) -> R | Exception: ...
    def get(self, timeout: float | None = None, propagate: bool = True) -> R | Exception | None:
        """Wait for the job's end, and return its result as the type that the function declares.

        With `ignore_result=True` there is nothing to wait for: None at once, as in Celery.

        Args:
            timeout: seconds to wait; None: for ever.
            propagate: False: return the error of the job instead of raising it.

        Raises:
            JobFailed: it raised; holds the worker's traceback.
            JobAborted: it was revoked. JobExpired: it was not started in time.
            TimeoutError: it has not ended in time (`ResultTimeout`); it goes on all the same.
        """
        if self._ignored:
            return None
        try:
            return self._portal.run(self._handle.result, timeout)
        except (JobFailed, JobAborted) as error:
            if propagate:
                raise
            return error

    def revoke(self, terminate: bool = False) -> None:
        """Let a job that waits never run; one that runs goes on, unless `terminate` is given. As in Celery.

        Args:
            terminate: cancel a running job, too; its worker does so within about a second.
        """
        self._portal.run(self._revoke, terminate)

    async def _revoke(self, terminate: bool) -> None:
        if terminate or await self._handle.status() in (Status.NEW, Status.QUEUED):
            await self._handle.abort("revoked")

    async def _outcome(self) -> R | Exception | None:
        if not await self._handle.done():
            return None
        try:
            return await self._handle.result()
        except (JobFailed, JobAborted) as error:
            return error

    def __repr__(self) -> str:
        return f"<Result {self.id}>"


class ResultHere(Generic[R]):
    """What came of a task that `apply` has run here: the same calls as `Result`, answered at once.

    Args:
        id: the key that the run had.
        outcome: what it returned, or the error that it raised.
    """

    def __init__(self, id: str, outcome: R | Exception) -> None:  # noqa: A002  (Celery's name)
        self.id = id
        self._outcome = outcome

    @property
    def status(self) -> State:
        """SUCCESS, FAILURE, or RETRY when the task raised `Retry`."""
        if not isinstance(self._outcome, Exception):
            return "SUCCESS"
        asks = find(self._outcome, Retry) and not find(self._outcome, GiveUp)
        return "RETRY" if asks else "FAILURE"

    @property
    def state(self) -> State:
        """The same as `status`."""
        return self.status

    def ready(self) -> bool:
        """True."""
        return True

    def successful(self) -> bool:
        """True when it returned."""
        return self.status == "SUCCESS"

    def failed(self) -> bool:
        """True when it raised, and did not ask for another attempt."""
        return self.status == "FAILURE"

    @property
    def result(self) -> R | Exception:
        """What it returned or raised."""
        return self._outcome

    @overload
    def get(self, timeout: float | None = None, propagate: Literal[True] = True) -> R: ...
    @overload
    def get(self, timeout: float | None = None, *, propagate: Literal[False]) -> R | Exception: ...
    def get(self, timeout: float | None = None, propagate: bool = True) -> R | Exception:
        """What it returned; raises what it raised, unless `propagate` is False."""
        if propagate and isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def revoke(self, terminate: bool = False) -> None:
        """Nothing: it has ended."""

    def __repr__(self) -> str:
        return f"<ResultHere {self.id} {self.status}>"


def _state(job: Job) -> State:
    if job.attempts and job.status not in (*TERMINAL_STATUSES, Status.ACTIVE, Status.ABORTING):
        return "RETRY"
    return _STATES[job.status]
