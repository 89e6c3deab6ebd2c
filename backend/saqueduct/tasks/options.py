"""Options for a task's jobs: queue, priority, time limit, retries, uniqueness, how long the outcome is kept."""

import dataclasses
from typing import Any, Literal, TypedDict, cast, get_args

import msgspec

from saqueduct.common.exception_groups import find
from saqueduct.common.near_names import NamedFields
from saqueduct.common.text import check_text
from saqueduct.common.time_limits import check_number
from saqueduct.errors import GiveUp, Retry
from saqueduct.flow.debounce import Debounce
from saqueduct.flow.limits import Fair, Limit, as_fair, check_limits
from saqueduct.tasks.job_meta import AT_MOST_ONCE, DURABLE, TAGS
from saqueduct.tasks.unique import Unique

Priority = Literal["high", "normal", "low"]

Record = Literal["all", "failures", "none"]
"""Which jobs of a task leave a record in PostgreSQL."""

PRIORITIES: dict[str, int] = {"high": -1, "normal": 0, "low": 1}
"""The priorities of a queue as values of SAQ's `Job.priority`, where lower numbers go first."""


class TaskSettings(TypedDict, total=False):
    """The keywords of the decorators; see `TaskOptions`."""

    queue: str
    priority: Priority
    timeout: int | None
    retries: int
    retry_delay: float
    retry_backoff: bool | float
    retry_on: tuple[type[BaseException], ...] | None
    give_up_on: tuple[type[BaseException], ...]
    at_most_once: bool
    unique: Unique | None
    debounce: Debounce | None
    limits: tuple[Limit, ...]
    takes: tuple[Limit, ...]
    fair: str | tuple[str, ...] | Fair | None
    redact: tuple[str, ...]
    durable: bool
    record: Record
    tags: tuple[str, ...]
    record_logs: bool | None
    ttl: int
    heartbeat: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions(NamedFields):
    """Defaults for a task's jobs; most can be overridden for one job at enqueue.

    Options that SAQ also has keep SAQ's names, meanings and defaults (`saq.job.Job`), so that a job enqueued by a
    stock SAQ producer and one enqueued here behave the same.

    Attributes:
        queue: the queue for its jobs.
        priority: "high", "normal" or "low": higher priorities of a queue go first; every tenth job is taken from a
            lower priority that has waiting jobs.
        timeout: seconds that one attempt may run before it is cancelled; 0: no limit.
        retries: total number of attempts; 1: a job fails at its first exception.
        retry_delay: seconds between a failed attempt and the next.
        retry_backoff: True: the delay doubles with each attempt, and a random part of it is used (jitter);
            a number: the same, capped at that many seconds; False: always `retry_delay`.
        retry_on: exceptions that are retried; None: all. A timeout is a `TimeoutError`.
            This and `give_up_on` also check the errors in exception groups, see `retries_after`.
        give_up_on: exceptions that are never retried, even if attempts are left.
        at_most_once: True: if its worker dies, a job fails instead of running again.
        unique: see `Unique`; None: several jobs with the same arguments may exist.
        debounce: see `Debounce`; None: each call is a job.
        limits: how many of its jobs run at once, and how many start in a time; see `Concurrency` and `Rate`.
        takes: limits that its jobs take for a part of their run, see `limit`; its jobs do not wait for them to start.
        fair: the argument whose values take turns, a tuple of arguments, or `Fair` for weights; None: first in, first
            out.
        redact: parameters whose values are kept out of logs, errors, web pages and records.
        durable: True: PostgreSQL keeps the job until it has ended, and it is enqueued again if Redis loses it.
        record: which jobs leave a record: "all", "failures" (those that did not complete), or "none".
        tags: words for finding its records.
        record_logs: True: the record keeps what a job logs, see `job_log`; None: as `SaqueductConfig.record_logs` says.
        ttl: seconds that the job and its outcome are kept after its end; 0: without limit, -1: not at all.
        heartbeat: maximum seconds between calls of `await ctx["job"].update()` by the job; 0: none needed.

    Raises:
        ValueError: an invalid value; names the option.
    """

    queue: str = "default"
    priority: Priority = "normal"
    timeout: int = 10
    retries: int = 1
    retry_delay: float = 0.0
    retry_backoff: bool | float = False
    retry_on: tuple[type[BaseException], ...] | None = None
    give_up_on: tuple[type[BaseException], ...] = ()
    at_most_once: bool = False
    unique: Unique | None = None
    debounce: Debounce | None = None
    limits: tuple[Limit, ...] = ()
    takes: tuple[Limit, ...] = ()
    fair: str | tuple[str, ...] | Fair | None = None
    redact: tuple[str, ...] = ()
    durable: bool = False
    record: Record = "all"
    tags: tuple[str, ...] = ()
    record_logs: bool | None = None
    ttl: int = 600
    heartbeat: int = 0

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value: Any = getattr(self, name)
            if value is None and name in _NONE_IS_ZERO:
                object.__setattr__(self, name, 0)
                continue
            check_number(name, value, least)
        if self.retries != int(self.retries):
            raise ValueError(f"retries counts attempts: it must be a whole number, not {self.retries!r}")
        for name in ("at_most_once", "durable"):
            check_truth(name, getattr(self, name))
        if not isinstance(self.queue, str):
            raise ValueError(f"queue takes a text, such as queue='mails', not {self.queue!r}")
        if not self.queue:
            raise ValueError("queue must not be empty")
        if self.priority not in PRIORITIES:
            raise ValueError(f"priority must be one of {', '.join(PRIORITIES)}, not {self.priority!r}")
        # The same form as `retry_on`.
        object.__setattr__(self, "give_up_on", self.give_up_on or ())
        _check_unique(self.unique)
        _check_debounce(self.debounce, self.unique)
        check_limits(self.limits)
        check_limits(self.takes, "takes", beside=self.limits)
        as_fair(self.fair)
        if not isinstance(self.redact, tuple):
            raise ValueError("redact takes a tuple of parameter names, such as redact=('password',)")
        if self.record not in get_args(Record):
            raise ValueError(f"record must be one of {', '.join(get_args(Record))}, not {self.record!r}")
        if not isinstance(self.tags, tuple):
            raise ValueError("tags takes a tuple of words, such as tags=('billing',)")
        for tag in self.tags:
            _check_tag(tag)
        if self.record_logs is not None:
            check_truth("record_logs", self.record_logs)
        for name in ("retry_on", "give_up_on"):
            _check_exceptions(name, getattr(self, name))

    @property
    def all_limits(self) -> tuple[Limit, ...]:
        """Those of whole jobs, and those that jobs take for a part of their run."""
        return (*self.limits, *self.takes)

    @property
    def turns(self) -> Fair | None:
        """The option `fair`, as `Fair`."""
        return as_fair(self.fair)

    def is_final(self, error: BaseException) -> bool:
        """True if the job fails for good with this error: `GiveUp`, or an exception in `give_up_on`."""
        final: tuple[type[BaseException], ...] = (GiveUp, *self.give_up_on)
        return any(not isinstance(each, Retry) for each in find(error, final))

    def retries_after(self, error: BaseException) -> bool:
        """True if this error is retried, by `retry_on` and `give_up_on`, or because it is `Retry`.

        In a group a final error decides first, then `Retry`, then an error in `retry_on`.
        """
        if self.is_final(error):
            return False
        if self.retry_on is None:
            return True
        again: tuple[type[BaseException], ...] = (Retry, *self.retry_on)
        return bool(find(error, again))

    def described(self) -> dict[str, Any]:
        """The options as JSON builtins for display; exceptions by their names."""
        names = {name: [each.__name__ for each in getattr(self, name) or ()] for name in ("retry_on", "give_up_on")}
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | names
        if self.retry_on is None:
            fields["retry_on"] = None
        del fields["queue"]
        return cast("dict[str, Any]", msgspec.to_builtins(fields))

    def job_fields(self) -> dict[str, Any]:
        """The options as fields of SAQ's Job."""
        fields = {name: getattr(self, name) for name in LEAST}
        fields["priority"] = PRIORITIES[self.priority]
        meta: dict[str, Any] = {AT_MOST_ONCE: True} if self.at_most_once else {}
        if self.durable:
            meta[DURABLE] = True
        if self.tags:
            meta[TAGS] = list(self.tags)
        if meta:
            fields["meta"] = meta
        return fields


def check_truth(name: str, value: Any) -> None:
    """Check that an option is True or False: a text such as "no" would count as True.

    Raises:
        ValueError: it is neither; names the option.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, not {value!r}")


def _check_unique(unique: Any) -> None:
    if unique is not None and not isinstance(unique, Unique):
        raise ValueError(f"unique takes a Unique(...), such as unique=Unique(by=('user_id',)), not {unique!r}")


def _check_debounce(debounce: Any, unique: Any) -> None:
    if debounce is None:
        return
    if not isinstance(debounce, Debounce):
        raise ValueError(f'debounce takes a Debounce(...), such as debounce=Debounce(5, by="doc_id"), not {debounce!r}')
    if unique is not None:
        raise ValueError(
            "debounce and unique both decide which of two calls counts: give one of them; for one job at a time "
            'beside debounce, limits=(Concurrency(1, by="doc_id"),)'
        )


def _check_tag(tag: Any) -> None:
    if not isinstance(tag, str):
        raise ValueError(f"tags takes a tuple of words, such as tags=('billing',), not {tag!r}")
    check_text("tags", tag)


def _check_exceptions(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, tuple) or not all(isinstance(each, type) for each in value):
        raise ValueError(f"{name} takes a tuple of exception classes, such as {name}=(ConnectionError,)")
    if not all(issubclass(each, BaseException) for each in value):
        raise ValueError(f"{name} takes exception classes only")


LEAST: dict[str, int] = {
    "timeout": 0,
    "retries": 1,
    "retry_delay": 0,
    "retry_backoff": 0,
    "ttl": -1,
    "heartbeat": 0,
}
"""The options that are fields of SAQ's Job, each with its minimum."""

_NONE_IS_ZERO = ("timeout", "heartbeat")
"""Task options for which None means the same as 0: no limit."""
