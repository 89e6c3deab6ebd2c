"""The errors of the queue.

QueueError
├── StartError             the process cannot start (also click's ClickException)
│   ├── RegistrationError      a decorated function cannot be a task (raised at import)
│   │   └── DuplicateTask      two functions claim one name
│   └── ConfigurationError     the process cannot start with this configuration
│       ├── OtherEventLoop     the queues of another event loop are awaited
│       ├── TablesMissing      PostgreSQL has no tables of the library
│       └── TablesOutdated     ... or they are older than the code
├── MigrationFailed        the library's tables cannot be migrated
├── UnknownTask            no task of that name is registered
├── UnknownQueue           QUEUE_NAMES has no queue of that name
├── UnknownSchedule        no task has a schedule of that key
├── UnknownWorker          no live worker has that id
├── UnknownLimit           there is no limit of that name
├── LimitNotTaken          a job cannot take a limit (also a RuntimeError)
├── LimitTimeout           ... its turn did not come in time (also a TimeoutError)
├── InvalidArguments       the arguments do not fit the task's signature
│   └── PayloadMismatch    ... those of a job that a worker leased
├── TaskNotDeployed        a worker leased a job of a task that its code does not have
├── PayloadTooLarge        encoded arguments or result above the limit
│   └── JobTooLarge        ... or the whole job, with its meta
├── CommandTooLarge        another command is larger than Redis accepts
├── InvalidResult          the result does not have the declared type, or JSON cannot represent it
├── JobNotFound            no queue has a job of that key
├── DeadLetterNotFound     no job of that key has failed for good
├── NoJobRecords           job records or dead letters need PostgreSQL, and there is none
├── InvalidCursor          the cursor is not from a page of this list
├── InvalidSearch          the search for jobs is invalid (also a ValueError)
├── JobConflict            the status of the job does not allow the operation
├── DuplicateJob           a unique job with the same claim already exists
├── JobSuperseded          another attempt has completed the job; this one's transaction is rolled back
├── JobFailed              the job failed, so it has no result
├── JobAborted             the job was aborted, so it has no result
│   └── JobExpired         ... because it was not started in time
├── ResultTimeout          the job has not ended within the timeout (also a TimeoutError)
├── EnqueueConflict        another transaction enqueues jobs with the same keys: run this one again
├── QueueUnavailable       Redis or PostgreSQL did not answer
├── Retry                  raised by a task: retry, after the given delay
│   └── Throttled              ... when a limit's key, which it closes, opens again; at no cost
└── GiveUp                 raised by a task: fail now, even if attempts are left
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from click import ClickException

from saqueduct.common.functions import location
from saqueduct.common.near_names import did_you_mean, near_names
from saqueduct.common.time_limits import check_delay, check_number

TASKS_NAMED = 10
"""Tasks that the error about an unknown one names, if none resembles it."""


class QueueError(Exception):
    """Base of all errors of the queue."""


class StartError(QueueError, ClickException):
    """The process cannot start with this code or configuration; the message says what to change.

    It is a ClickException, because Litestar's command line and uvicorn load the application inside a Click command,
    which then prints the message without a traceback and exits with 2.
    """

    exit_code = 2


class RegistrationError(StartError):
    """A decorated function cannot be a task.

    `where` is `file:line` of the function itself, below other decorators, so that a terminal can open it.
    """

    def __init__(self, function: Callable[..., Any], problem: str) -> None:
        self.where = location(function)
        self.problem = problem
        super().__init__(f"{self.where}: {getattr(function, '__qualname__', repr(function))}: {problem}")


class DuplicateTask(RegistrationError):
    """Two functions claim one task name, or one function is decorated twice in different ways."""

    def __init__(self, function: Callable[..., Any], name: str, first: Callable[..., Any]) -> None:
        self.name = name
        where = location(first)
        again = ", which makes more than one function or task of that name" if where == location(function) else ""
        super().__init__(
            function, f"the task name {name!r} is taken by {where}{again}; rename one, or pass @task(name=...)"
        )


class ConfigurationError(StartError):
    """The process cannot start with this configuration; the message says what to change."""


class OtherEventLoop(ConfigurationError, RuntimeError):
    """Queues are awaited in another event loop than the one that connected them; nothing was sent.

    Args:
        ended: True if that event loop was closed before the queues were disconnected.
    """

    def __init__(self, *, ended: bool = False) -> None:
        if ended:
            super().__init__(
                "the event loop that connected these queues has ended: `await queues.disconnect()` in it, before it "
                "ends, and `await queues.connect()` in the next"
            )
            return
        super().__init__(
            "these queues belong to another event loop: where none runs, as in a `def` task, do not make one with "
            "`asyncio.run`, use the calls that block: `task.delay(...)`, `result.get(timeout=10)`; in async code await "
            "queues that this event loop has connected (`await queues.connect()`)"
        )


MIGRATE = "`litestar --app APP queue migrate` or `saqueduct --app APP migrate`"


class TablesMissing(ConfigurationError):
    """The database has no tables of the library.

    Args:
        names: of the tables.
        schema: where they were looked for; None: in the `search_path`.
    """

    def __init__(self, names: Iterable[str], schema: str | None) -> None:
        self.names, self.schema = tuple(names), schema
        where = f"schema {schema!r}" if schema else "database"
        super().__init__(f"the {where} lacks Saqueduct's tables ({', '.join(self.names)}): make them with {MIGRATE}")


class TablesOutdated(ConfigurationError):
    """The library's tables are older than the code.

    Args:
        reason: what is missing or outdated.
        schema: of the tables; None: the one that the `search_path` finds.
    """

    def __init__(self, reason: str, schema: str | None) -> None:
        self.reason, self.schema = reason, schema
        where = f" in the schema {schema!r}" if schema else ""
        super().__init__(
            f"Saqueduct's tables{where} are older than its code: {reason}. Upgrade them with {MIGRATE}, or with "
            "`alembic upgrade heads` where your own Alembic includes their branch"
        )


class MigrationFailed(QueueError):
    """The library's tables cannot be migrated; nothing was changed. The message says what to do."""


class UnknownTask(QueueError):
    """No task of that name is registered. `near` holds similar names, best first."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        known = list(known)
        self.name, self.near = name, near_names(name, known, 3)
        if self.near:
            hint = f"did you mean {', '.join(self.near)}?"
        elif known:
            others = f", and {len(known) - TASKS_NAMED} others" if len(known) > TASKS_NAMED else ""
            hint = f"there are: {', '.join(known[:TASKS_NAMED])}{others}"
        else:
            hint = "none is registered: import the modules that define them before the queues are built"
        super().__init__(f"there is no task named {name!r}; {hint}")


class UnknownQueue(QueueError):
    """No queue of that name exists. `known` holds the names of the existing queues."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name, self.known = name, list(known)
        listed = f"there are: {', '.join(self.known)}"
        super().__init__(f"there is no queue {name!r}; {did_you_mean(name, self.known, listed)}")


class UnknownSchedule(QueueError):
    """No task has a schedule of that key. `known` holds the keys of the existing schedules."""

    def __init__(self, key: str, known: Iterable[str]) -> None:
        self.key, self.known = key, list(known)
        listed = f"there are: {', '.join(self.known) or 'none'}"
        super().__init__(f"there is no schedule {key!r}; {did_you_mean(key, self.known, listed)}")


class UnknownWorker(QueueError):
    """No live worker has that id. `known` holds the ids of those that are live."""

    def __init__(self, worker: str, known: Iterable[str]) -> None:
        self.worker, self.known = worker, list(known)
        listed = f"there are: {', '.join(self.known) or 'none'}"
        super().__init__(f"no live worker has the id {worker!r}; {did_you_mean(worker, self.known, listed)}")


class UnknownLimit(QueueError):
    """There is no limit of that name. `known` holds the names of those that exist; `of`: of what, as text."""

    def __init__(self, name: str, known: Iterable[str], of: str = "") -> None:
        self.name, self.known, self.of = name, list(known), of
        listed = f"there are: {', '.join(map(repr, self.known)) or 'none'}"
        where = f"{of} has" if of else "there is"
        super().__init__(f"{where} no limit {name!r}; {did_you_mean(name, self.known, listed)}")


class LimitNotTaken(QueueError, RuntimeError):
    """A job cannot take a limit. `limit`: its name; `reason`: why, as text."""

    def __init__(self, limit: str, reason: str) -> None:
        self.limit, self.reason = limit, reason
        super().__init__(f"cannot take the limit {limit!r}: {reason}")


class LimitTimeout(QueueError, TimeoutError):
    """The turn of a job at a limit did not come in time. `limit`: its name; `timeout`: seconds."""

    def __init__(self, limit: str, timeout: float) -> None:
        self.limit, self.timeout = limit, timeout
        super().__init__(f"it was not this job's turn at the limit {limit!r} within {timeout:g} s")


class InvalidArguments(QueueError):
    """The arguments do not fit the task's signature. `problems`: argument name -> what is wrong with it."""

    def __init__(self, task: str, problems: Mapping[str, str]) -> None:
        self.task = task
        self.problems = dict(problems)
        super().__init__(self._message("; ".join(f"{name}: {problem}" for name, problem in self.problems.items())))

    def _message(self, listed: str) -> str:
        return f"invalid arguments for {self.task}: {listed}"


class PayloadMismatch(InvalidArguments):
    """The arguments of a job do not fit the signature that its task has on this worker.

    The job goes back to the queue, for workers with other code. It fails when WORKER_DEPLOY_WINDOW is over.
    """

    job: object = None
    """The job whose arguments do not fit; None where a task's function raised this, which is a failure."""

    def _message(self, listed: str) -> str:
        return (
            f"the job does not match the current signature of {self.task}: {listed}. Another version of the task "
            "enqueued it, or a producer that does not validate. Give new parameters a default, let the old version "
            "let its jobs finish before a type changes, or enqueue the job again with arguments that fit"
        )


class TaskNotDeployed(QueueError):
    """A worker leased a job of a task that its code does not have.

    The job goes back to the queue, for workers that have the task. It fails when WORKER_DEPLOY_WINDOW is over.
    """

    def __init__(self, task: str, queue: str) -> None:
        self.task, self.queue = task, queue
        super().__init__(
            f"this worker has no task {task!r}: its code is older than the job, or the task was renamed or removed. "
            f"Deploy code that has the task to the workers of the queue {queue!r}, then retry the job"
        )


class PayloadTooLarge(QueueError):
    """Encoded arguments or result above the limit; `size` and `limit` in bytes."""

    def __init__(self, task: str, what: str, size: int, limit: int) -> None:
        self.task, self.size, self.limit = task, size, limit
        super().__init__(
            f"the {what} of {task} take {size:,} bytes, the limit is {limit:,} (max_payload_bytes, "
            "QUEUE_MAX_PAYLOAD_BYTES): store the data and pass a reference to it"
        )


class JobTooLarge(PayloadTooLarge):
    """The whole job, including its `meta`, is larger than Redis accepts; `size` and `limit` in bytes."""

    def __init__(self, task: str, size: int, limit: int) -> None:
        self.task, self.size, self.limit = task, size, limit
        Exception.__init__(
            self,
            f"a job of {task} takes {size:,} bytes with its arguments and its meta, Redis takes {limit:,}: "
            "store the data and pass a reference to it",
        )


class CommandTooLarge(QueueError):
    """A command is larger than Redis accepts, and was not sent; `size` and `limit` in bytes."""

    def __init__(self, command: str, size: int, limit: int) -> None:
        self.size, self.limit = size, limit
        super().__init__(f"{command} with {size:,} bytes is more than the {limit:,} that Redis takes in one command")


class InvalidResult(QueueError):
    """The result does not have the declared type, or JSON cannot represent it. `problem` names the place."""

    def __init__(self, task: str, problem: str) -> None:
        self.task, self.problem = task, problem
        super().__init__(f"{task} returned what cannot be stored: {problem}")


class JobNotFound(QueueError):
    """No queue has a job of that key: it never existed, or its time to live is over."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"there is no job with the key {key!r}, or its result has expired")


class DeadLetterNotFound(QueueError):
    """No job of that key has failed for good, or its record was deleted."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"there is no dead letter with the key {key!r}")


class NoJobRecords(QueueError):
    """Job records and dead letters need PostgreSQL, and none is configured."""

    def __init__(self) -> None:
        super().__init__(
            "this application keeps no job records and no dead letters, because it has no PostgreSQL: set "
            "`database_url` of SaqueductConfig, or DATABASE_URL; with embedded servers, `records=True` starts one"
        )


class InvalidCursor(QueueError):
    """The cursor does not come from a page of this list."""

    def __init__(self, cursor: str) -> None:
        self.cursor = cursor
        super().__init__("cursor: use the value from the previous page, or leave it out for the first page")


class InvalidSearch(QueueError, ValueError):
    """A search for jobs is invalid; the message says what is valid."""


class JobConflict(QueueError):
    """The status of the job does not allow the operation."""

    def __init__(self, key: str, status: str, action: str) -> None:
        self.key, self.status = key, status
        super().__init__(f"the job {key!r} is {status} and cannot be {action}")


class DuplicateJob(QueueError):
    """A unique job was enqueued while another one exists; `existing` is the key of the existing job."""

    def __init__(self, task: str, existing: str) -> None:
        self.task, self.existing = task, existing
        super().__init__(f"a job of {task} with the same unique arguments already exists: {existing!r}")


class JobSuperseded(QueueError):
    """Another attempt has completed the job; everything that this attempt wrote with its session is rolled back."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"the job {key!r} was completed by another attempt")


class JobFailed(QueueError):
    """The job raised. `traceback` is the worker's, as text."""

    def __init__(self, key: str, task: str, traceback: str) -> None:
        self.key, self.task, self.traceback = key, task, traceback
        super().__init__(f"the job {key!r} of {task} failed:\n{traceback}")


class JobAborted(QueueError):
    """The job was aborted; `reason` says why."""

    def __init__(self, key: str, task: str, reason: str) -> None:
        self.key, self.task, self.reason = key, task, reason
        super().__init__(f"the job {key!r} of {task} was aborted: {reason}")


class JobExpired(JobAborted):
    """The job was not started in time, and never ran."""

    def __init__(self, key: str, task: str) -> None:
        super().__init__(key, task, "expired")


class ResultTimeout(QueueError, TimeoutError):
    """The job has not ended within `timeout` seconds; it continues to run."""

    def __init__(self, key: str, timeout: float) -> None:
        self.key, self.timeout = key, timeout
        super().__init__(f"the job {key!r} has not ended within {timeout:g} s; it continues, ask again later")


class EnqueueConflict(QueueError):
    """A transaction cannot enqueue its jobs, because another open transaction enqueues jobs with the same keys.

    PostgreSQL rejects all further statements of the transaction: roll it back, and run it again. `deadlock`: True if
    the two waited for each other, False if this one waited for too long. `retry_after`: seconds to wait before the
    next try.
    """

    retry_after = 1

    def __init__(self, queue: str, *, deadlock: bool) -> None:
        self.queue, self.deadlock = queue, deadlock
        happened = "both waited for each other" if deadlock else "it has not ended in time"
        super().__init__(
            f"queue {queue}: another transaction enqueues jobs of the same keys, and {happened}: roll back, and run "
            "this transaction again; enqueue jobs of several keys with one call of enqueue_many, or always in one order"
        )


class QueueUnavailable(QueueError):
    """A server did not answer. `server`: which one. `retry_after`: seconds to wait before the next try."""

    def __init__(self, reason: str, retry_after: int = 5, *, server: Literal["Redis", "PostgreSQL"] = "Redis") -> None:
        self.retry_after = retry_after
        self.server = server
        super().__init__(f"the job queue cannot be reached: {reason}")


class Retry(QueueError):
    """Raise it in a task to retry, regardless of `retry_on`; it uses one of `retries`, like any failure.

        raise Retry(delay=30, reason="the report is not ready")

    Args:
        delay: seconds until the next attempt; None: use the task's `retry_delay` and `retry_backoff`.
        reason: text for the job's error.

    Raises:
        ValueError: the delay is not a number, is negative, or ends after the year 9999.
    """

    def __init__(self, delay: float | None = None, reason: str = "the task asked for another attempt") -> None:
        if delay is not None:
            check_delay("delay", delay)
        self.delay, self.reason = delay, reason
        super().__init__(reason)


LONGEST_THROTTLE = 86_400
"""Seconds for which `Throttled` closes a limit at most: a day."""


class Throttled(Retry):
    """Raise it in a task when a provider asks for fewer calls: it closes a limit of the job, for the key of this job.

        raise Throttled("stripe", retry_after=float(response.headers["Retry-After"]))

    Until the key opens again, no job starts that has this limit with the same key; jobs with other keys do. This job
    goes back to the front of its line. That costs no attempt, until it has been throttled for the worker's
    `outage_limit` (a day); then it counts as `Retry(delay=retry_after)`. A job that expires meanwhile ends as expired.

    Args:
        limit: the name of one of the job's limits; without a name, a limit has that of the task.
        retry_after: seconds for which it is closed, by the clock of Redis, from 0 to LONGEST_THROTTLE; a key that is
            closed for longer already stays so.
        reason: text for the job's error.

    Raises:
        ValueError: a wrong name or number; names it.
    """

    def __init__(self, limit: str, retry_after: float, reason: str = "") -> None:
        if not isinstance(limit, str) or not limit:
            raise ValueError(f'Throttled: limit takes the name of a limit, such as "stripe", not {limit!r}')
        check_number("Throttled: retry_after", retry_after, 0, LONGEST_THROTTLE)
        self.limit, self.retry_after = limit, retry_after
        super().__init__(retry_after, reason or f"the limit {limit!r} is closed for {retry_after:g} s")


class GiveUp(QueueError):
    """Raise it in a task to fail immediately, even if attempts are left.

    raise GiveUp("the mailbox does not exist")
    """
