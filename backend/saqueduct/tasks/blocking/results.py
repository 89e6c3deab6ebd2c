"""Results of blocking calls: of a job in the queue, and of a task that ran in this process."""

from typing import Generic, Literal, TypeVar, overload

from saq import Job
from saq.job import TERMINAL_STATUSES, Status

from saqueduct.common.exception_groups import find
from saqueduct.errors import GiveUp, JobAborted, JobFailed, JobNotFound, Retry
from saqueduct.tasks.blocking.portal import Portal
from saqueduct.tasks.handle import JobHandle

R = TypeVar("R")

State = Literal["PENDING", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED"]
"""Celery's names for the states of a job."""

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
    """A job and its future result: `JobHandle` for code without an event loop. Usable in any thread.

        result = registry.cleanup_sessions.delay(days_old=7)
        result.get(timeout=10)["deleted_count"]

    If no result is kept (`ignore_result=True`, or a task's `ttl=-1`), a job is deleted when it ends: from then on it is
    PENDING and not ready, without result and error, as in Celery.

    All members except `id` ask Redis, and raise:
        JobNotFound: the job does not exist, or its outcome is no longer kept.
        QueueUnavailable: Redis did not answer.
        CalledInEventLoop, ConfigurationError: see `Portal`.
    """

    def __init__(self, portal: Portal, handle: JobHandle[R], *, ignored: bool = False) -> None:
        self._portal = portal
        self._handle = handle
        snapshot = handle.job
        self._ignored = ignored or (snapshot is not None and snapshot.ttl < 0)

    @property
    def id(self) -> str:
        """The job's key."""
        return self._handle.key

    @property
    def status(self) -> State:
        """The state of the job: RETRY is a job that waits for another attempt, REVOKED one that was aborted or was
        not started before it expired."""
        job = self._look()
        return "PENDING" if job is None else _state(job)

    @property
    def state(self) -> State:
        """The same as `status`."""
        return self.status

    def ready(self) -> bool:
        """True when the job has ended, with any status."""
        job = self._look()
        return job is not None and job.status in TERMINAL_STATUSES

    def successful(self) -> bool:
        """True when the job has ended with a result."""
        return self.status == "SUCCESS"

    def failed(self) -> bool:
        """True when the job has ended with an error."""
        return self.status == "FAILURE"

    @property
    def result(self) -> R | Exception | None:
        """The job's result; the error if it failed or was revoked; None while it has not ended. Never waits."""
        return self._portal.run(self._outcome)

    @property
    def traceback(self) -> str | None:
        """The worker's traceback of the last failed attempt."""
        job = self._look()
        return job.error if job is not None and _state(job) in ("FAILURE", "RETRY") else None

    @overload
    def get(self, timeout: float | None = None, propagate: Literal[True] = True) -> R: ...
    @overload
    def get(self, timeout: float | None = None, *, propagate: Literal[False]) -> R | Exception: ...
    def get(self, timeout: float | None = None, propagate: bool = True) -> R | Exception | None:
        """Wait until the job ends, and return its result as the declared type of the function.

        If no result is kept, it returns None immediately, as in Celery.

        Args:
            timeout: seconds to wait; None: no limit.
            propagate: False: return the error of the job instead of raising it.

        Raises:
            JobFailed: the job failed; contains the worker's traceback.
            JobAborted: the job was revoked. JobExpired: it was not started in time.
            TimeoutError: the job has not ended in time (`ResultTimeout`); it continues to run.
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
        """Prevent a waiting job from running; a running one continues, unless `terminate` is set. As in Celery.

        Args:
            terminate: also cancel a running job; its worker does so within about a second.
        """
        self._portal.run(self._revoke, terminate)

    def _look(self) -> Job | None:
        return self._portal.run(self._present)

    async def _present(self) -> Job | None:
        """The job; None: it has ended, and is not kept.

        Raises:
            JobNotFound: the job should exist, and does not.
        """
        try:
            return await self._handle.refresh()
        except JobNotFound:
            if not self._ignored:
                raise
            return None

    async def _revoke(self, terminate: bool) -> None:
        job = await self._present()
        if job is not None and (terminate or job.status in (Status.NEW, Status.QUEUED)):
            await self._handle.abort("revoked")

    async def _outcome(self) -> R | Exception | None:
        job = await self._present()
        if job is None or job.status not in TERMINAL_STATUSES:
            return None
        try:
            return await self._handle.result()
        except (JobFailed, JobAborted) as error:
            return error

    def __repr__(self) -> str:
        return f"<Result {self.id}>"


class ResultHere(Generic[R]):
    """The outcome of a task that `apply` ran in this process: the same calls as `Result`, answered immediately.

    Args:
        id: the key of the run.
        outcome: the result, or the error that was raised.
    """

    def __init__(self, id: str, outcome: R | Exception) -> None:  # noqa: A002  (Celery's name)
        self.id = id
        self._outcome = outcome

    @property
    def status(self) -> State:
        """SUCCESS, FAILURE, or RETRY if the task raised `Retry`."""
        if not isinstance(self._outcome, Exception):
            return "SUCCESS"
        asks = find(self._outcome, Retry) and not find(self._outcome, GiveUp)
        return "RETRY" if asks else "FAILURE"

    @property
    def state(self) -> State:
        """The same as `status`."""
        return self.status

    def ready(self) -> bool:
        """Always True."""
        return True

    def successful(self) -> bool:
        """True if the task returned."""
        return self.status == "SUCCESS"

    def failed(self) -> bool:
        """True if the task raised, and did not raise `Retry`."""
        return self.status == "FAILURE"

    @property
    def result(self) -> R | Exception:
        """The result, or the error that was raised."""
        return self._outcome

    @overload
    def get(self, timeout: float | None = None, propagate: Literal[True] = True) -> R: ...
    @overload
    def get(self, timeout: float | None = None, *, propagate: Literal[False]) -> R | Exception: ...
    def get(self, timeout: float | None = None, propagate: bool = True) -> R | Exception:
        """The result; raises the error instead, unless `propagate` is False."""
        if propagate and isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def revoke(self, terminate: bool = False) -> None:
        """Does nothing: the task has already ended."""

    def __repr__(self) -> str:
        return f"<ResultHere {self.id} {self.status}>"


def _state(job: Job) -> State:
    if job.attempts and job.status not in (*TERMINAL_STATUSES, Status.ACTIVE, Status.ABORTING):
        return "RETRY"
    return _STATES[job.status]
