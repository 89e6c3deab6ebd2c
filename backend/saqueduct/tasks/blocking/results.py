"""Results of blocking calls: of a job in the queue, and of a task that was run here."""

from typing import Generic, Literal, TypeVar, overload

from saq import Job
from saq.job import TERMINAL_STATUSES, Status

from saqueduct.common.exception_groups import find
from saqueduct.errors import GiveUp, JobAborted, JobFailed, JobNotFound, Retry
from saqueduct.tasks.blocking.portal import Portal
from saqueduct.tasks.handle import JobHandle

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

    Where no result is kept (`ignore_result=True`, or a task's `ttl=-1`), a job that has ended is forgotten: PENDING and
    not ready from then on, without result and error, as in Celery.

    All but `id` ask Redis, and raise:
        JobNotFound: the job is not known, or its outcome is not kept any more.
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
        """Where the job stands: RETRY is a job that waits for another attempt, REVOKED one that was aborted or was
        not started before it expired."""
        job = self._look()
        return "PENDING" if job is None else _state(job)

    @property
    def state(self) -> State:
        """The same as `status`."""
        return self.status

    def ready(self) -> bool:
        """True when the job has ended, however."""
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
        """What the job returned; the error when it failed or was revoked; None while it has not ended. Never waits."""
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
        """Wait for the job's end, and return its result as the type that the function declares.

        Where no result is kept there is nothing to wait for: None at once, as in Celery.

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

    def _look(self) -> Job | None:
        return self._portal.run(self._present)

    async def _present(self) -> Job | None:
        """The job; None: it has ended, and nothing of it is kept.

        Raises:
            JobNotFound: something of it should be.
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
