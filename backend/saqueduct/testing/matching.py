"""Which waiting jobs match an assertion, and the message when none does."""

import dataclasses
import datetime as dt
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
from saq import Job
from saq.job import Status

from saqueduct.common import clock
from saqueduct.errors import InvalidArguments
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.job_meta import EXPIRES_AT
from saqueduct.tasks.task import Task
from saqueduct.testing.incomplete import IncompleteJobs

TOLERANCE = 1.0
"""Seconds by which a job may be due earlier or later than an assertion says."""

MOST_LISTED = 20
"""Jobs that a message lists at most."""

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 60


@dataclasses.dataclass(frozen=True, slots=True)
class WaitingJob:
    """A job that waits.

    Attributes:
        job: as it is in Redis.
        queue: the name of its queue.
        due: epoch seconds from which it may start; 0: immediately.
    """

    job: Job
    queue: str
    due: float

    def __str__(self) -> str:
        """As a call, with what distinguishes it from similar jobs."""
        later = f", due in {self.due - clock.time_now():.0f} s" if self.due else ""
        return f"{_call(self.job.function, self.job.kwargs or {})}, queue={self.queue!r}, key={self.job.key!r}{later}"


async def read_waiting(queues: Iterable[EngineQueue]) -> list[WaitingJob]:
    """The jobs that wait, delayed ones too, by queue and then in the order of their enqueue."""
    return [each for queue in queues for each in await _read_one(queue)]


async def _read_one(queue: EngineQueue) -> list[WaitingJob]:
    entries = await IncompleteJobs(queue).listed()
    found = await queue.jobs(key for key, _ in entries)
    waiting = [
        WaitingJob(job, queue.name, due)
        for job, (_, due) in zip(found, entries, strict=True)
        if job is not None and job.status in (Status.NEW, Status.QUEUED)
    ]
    # Enqueue times are whole milliseconds; within one, the queue has the order.
    line = cast("list[bytes]", await queue.redis.lrange(queue.namespace("queued"), 0, -1))
    places = {entry.decode(): place for place, entry in enumerate(line)}
    return sorted(waiting, key=lambda each: (each.job.queued, places.get(each.job.id, -1)))


class Wanted:
    """The jobs that an assertion is about.

    Args:
        task: the task, with `options(...)` that the jobs must have; None: any.
        arguments: that they must have; others are not checked.

    Raises:
        InvalidArguments: the task takes no argument of that name, so no job could ever match.
    """

    def __init__(self, task: Task[..., Any] | None, arguments: Mapping[str, Any]) -> None:
        self.task = task
        self.arguments = arguments
        if self.task is not None:
            _check_names(self.task, arguments)

    def __str__(self) -> str:
        if self.task is None:
            return "any job"
        options = self.task.call_options
        given = {
            field.name: value
            for field in dataclasses.fields(options)
            if (value := getattr(options, field.name)) != field.default
        }
        settled = f".options({_keywords(given)})" if given else ""
        return _call(self.task.name + settled, self.arguments)

    def among(self, waiting: Iterable[WaitingJob]) -> list[WaitingJob]:
        """The matching jobs."""
        return [each for each in waiting if not self.differences(each)]

    def differences(self, waiting: WaitingJob) -> list[str]:
        """What keeps a job from matching; nothing when it does."""
        if self.task is None:
            return []
        if not self._is_of_the_task(waiting):
            return ["it is another task"]
        return [*self._argument_differences(self.task, waiting.job), *self._option_differences(self.task, waiting)]

    def instead(self, waiting: Sequence[WaitingJob]) -> str:
        """What is enqueued instead, for a message: first the jobs of the same task, with the differences."""
        mine = [each for each in waiting if self._is_of_the_task(each)]
        others = [each for each in waiting if not self._is_of_the_task(each)]
        return _lines([*(f"{each}\n    but {', '.join(self.differences(each))}" for each in mine), *map(str, others)])

    def _is_of_the_task(self, waiting: WaitingJob) -> bool:
        return self.task is not None and waiting.job.function == self.task.name

    def _argument_differences(self, task: Task[..., Any], job: Job) -> list[str]:
        actual = _arguments(task, job.kwargs or {})
        differences = []
        for name, expected in self.arguments.items():
            if name not in actual:
                differences.append(f"{name} is not given")
            elif not _equal(expected, actual[name]):
                differences.append(f"{name} is {_SHOWN.repr(actual[name])}")
        return differences

    def _option_differences(self, task: Task[..., Any], waiting: WaitingJob) -> list[str]:
        options, job = task.call_options, waiting.job
        # Options that count from now are compared below.
        plain = dataclasses.replace(options, delay=None, eta=None, expires=None, meta=None)
        differences = [
            f"{name} is {getattr(job, name)!r}"
            for name, value in plain.job_fields().items()
            if name != "meta" and getattr(job, name) != value
        ]
        if options.queue is not None and waiting.queue != options.queue:
            differences.append(f"queue is {waiting.queue!r}")
        for name, value in (options.meta or {}).items():
            if job.meta.get(name) != value:
                differences.append(f"meta[{name!r}] is {job.meta.get(name)!r}")
        return differences + self._time_differences(task, waiting)

    def _time_differences(self, task: Task[..., Any], waiting: WaitingJob) -> list[str]:
        options, differences = task.call_options, []
        if options.eta is not None and abs(options.eta.timestamp() - waiting.due) > TOLERANCE:
            differences.append(f"it is due at {_time(waiting.due)}")
        if options.delay is not None and not _is_after(waiting.job, waiting.due, options.delay):
            differences.append(f"it is due {_SHOWN.repr(_delay(waiting))} s after its enqueue")
        expires = float(waiting.job.meta.get(EXPIRES_AT, 0))
        if options.expires is not None and not _is_after(waiting.job, expires, options.expires):
            differences.append(f"it expires at {_time(expires)}" if expires else "it does not expire")
        return differences


def _check_names(task: Task[..., Any], arguments: Mapping[str, Any]) -> None:
    signature = task.signature
    if signature.extra is not None:
        return
    known = ", ".join(signature.payload) or "none"
    unknown = [name for name in arguments if name not in signature.payload]
    if unknown:
        raise InvalidArguments(task.name, dict.fromkeys(unknown, f"unknown argument (there are: {known})"))


def _arguments(task: Task[..., Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a job as its function gets them: converted, and with its defaults."""
    defaults = {name: each.default for name, each in task.signature.payload.items() if not each.required}
    try:
        return defaults | task.signature.decode(raw)
    except InvalidArguments:
        # Enqueued by a producer that does not validate.
        return defaults | dict(raw)


def _equal(expected: Any, actual: Any) -> bool:
    """True for the same value, or for what is the same in JSON, such as a tuple and a list."""
    if expected == actual:
        return True
    try:
        return _json(expected) == _json(actual)
    except (TypeError, ValueError):
        return False


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def _is_after(job: Job, moment: float, seconds: float) -> bool:
    """True when a moment is so many seconds after the job's enqueue, whether that was before or after time travel."""
    since = moment - job.queued / 1000
    return bool(moment) and min(abs(since - seconds), abs(since - clock.offset() - seconds)) <= TOLERANCE


def _delay(waiting: WaitingJob) -> float:
    return round(waiting.due - waiting.job.queued / 1000, 1) if waiting.due else 0


def _time(epoch: float) -> str:
    return dt.datetime.fromtimestamp(epoch, dt.UTC).isoformat(" ", "seconds") if epoch else "once"


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    return f"{name}({_keywords(arguments)})"


def _keywords(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_SHOWN.repr(value)}" for name, value in arguments.items())


def listed(waiting: Iterable[WaitingJob]) -> str:
    """Jobs, a line each, for a message."""
    return _lines([str(each) for each in waiting])


def _lines(entries: Sequence[str]) -> str:
    lines = [f"  {entry}" for entry in entries[:MOST_LISTED]]
    if len(entries) > MOST_LISTED:
        lines.append(f"  and {len(entries) - MOST_LISTED} more")
    return "\n".join(lines)
