"""The options of a job: those that it carries, and those of its task that apply to it."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from saq import Job

from saqueduct.console.rendering import lasting
from saqueduct.flow.debounce import Debounce
from saqueduct.flow.limits import FAIR, Fair, as_fair, name_of
from saqueduct.queue.limit_states import LimitNumbers, numbers_in
from saqueduct.tasks.job import level_of
from saqueduct.tasks.job_meta import AT_MOST_ONCE, CLAIM, DEBOUNCE, DURABLE, EXPIRES_AT, LIMITS
from saqueduct.tasks.options import LEAST, TaskOptions
from saqueduct.tasks.task import Task
from saqueduct.tasks.unique import Unique


class Option(NamedTuple):
    """One option."""

    name: str
    """As of the decorator."""
    text: str
    usual: str = ""
    """What its task has, where that differs."""
    at: dt.datetime | None = None
    """In place of the text."""


class Options(NamedTuple):
    """The options of a job."""

    carried: list[Option]
    """By the job itself; empty: it is not in Redis any more."""
    of_task: list[Option]
    """Read from its task when they apply, as the code is now; empty: no such task is known."""


CARRIED: Final = ("priority", *LEAST, "at_most_once", "durable")
"""Options of a task that its jobs carry under the same meaning."""

BY_TASK: Final = ("record", "record_logs", "unique", "retry_on", "give_up_on", "takes", "fair", "redact")
"""Those that are read from the task."""

PLAIN: Final = TaskOptions()


def options_of(job: Job | None, task: Task[..., Any] | None) -> Options:
    """The options of a job.

    Args:
        job: as Redis or the outbox has it; None: neither does.
        task: its task; None: this application does not know it.
    """
    usual = {} if task is None else {name: getattr(task.defaults, name) for name in (*CARRIED, *BY_TASK)}
    if job is None:
        names: tuple[str, ...] = (*CARRIED, "debounce", "limits", *BY_TASK)
        return Options([], list(_of_task(task, names)))
    return Options(list(_carried(job, usual)), list(_of_task(task, BY_TASK)))


def changed_options(task: Task[..., Any]) -> list[Option]:
    """The options of a task that differ from the defaults."""
    usual = PLAIN.described()
    changed = {name: value for name, value in task.defaults.described().items() if value != usual[name]}
    return [
        Option(name, _text(name, getattr(task.defaults, name)) if name in _TEXTS else _described(task, name, value))
        for name, value in changed.items()
    ]


def _described(task: Task[..., Any], name: str, value: Any) -> str:
    return _limits_of(task, getattr(task.defaults, name)) if name in ("limits", "takes") else _plain(value)


def _carried(job: Job, usual: Mapping[str, Any]) -> Iterator[Option]:
    meta = job.meta or {}
    values = {name: getattr(job, name) for name in LEAST} | {
        "priority": level_of(job),
        "at_most_once": bool(meta.get(AT_MOST_ONCE)),
        "durable": bool(meta.get(DURABLE)),
    }
    for name in CARRIED:
        text, other = _text(name, values[name]), _text(name, usual[name]) if usual else ""
        yield Option(name, text, other if other != text else "")
    if job.scheduled:
        yield Option("not before", "", at=_moment(job.scheduled))
    if (until := _moment(meta.get(EXPIRES_AT))) is not None:
        yield Option("expires", "", at=until)
    if CLAIM in meta and DEBOUNCE not in meta:
        yield Option("unique", "until it has ended")
    if limits := _limits(meta.get(LIMITS)):
        yield Option("limits", limits)
    if debounce := _debounce(meta.get(DEBOUNCE)):
        yield Option("debounce", debounce)


def _of_task(task: Task[..., Any] | None, names: tuple[str, ...]) -> Iterator[Option]:
    if task is None:
        return
    for name in names:
        value = getattr(task.defaults, name)
        if name in (*CARRIED, "record") or value != getattr(PLAIN, name):
            yield Option(name, _limits_of(task, value) if name in ("limits", "takes") else _text(name, value))


def _text(name: str, value: Any) -> str:
    """The value of an option in words."""
    return _TEXTS[name](value) if name in _TEXTS else _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(each.__name__ if isinstance(each, type) else str(each) for each in value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _limit(seconds: float | None) -> str:
    return lasting(seconds) if seconds else "none"


def _backoff(value: bool | float) -> str:
    if value is True:
        return "doubles"
    return f"doubles, up to {lasting(value)}" if value else "no"


def _kept(seconds: int | None) -> str:
    return "without limit" if not seconds else "not kept" if seconds < 0 else lasting(seconds)


def _unique(unique: Unique) -> str:
    by = f"by {', '.join(unique.by)}" if unique.by else "by all arguments"
    return f"{by}, {unique.on_conflict}" + (f", for {lasting(unique.period)}" if unique.period is not None else "")


def _debounced(debounce: Debounce) -> str:
    return _debounce([debounce.wait, debounce.max_wait or 0])


def _fair(fair: str | tuple[str, ...] | Fair) -> str:
    found = as_fair(fair)
    return f"by {', '.join(found.parameters)}" if found is not None else "no"


def _attempts(retries: int) -> str:
    return "1 attempt" if retries == 1 else f"{retries} attempts"


_TEXTS: Final[Mapping[str, Callable[[Any], str]]] = {
    "timeout": _limit,
    "heartbeat": _limit,
    "retry_delay": _limit,
    "retry_backoff": _backoff,
    "retries": _attempts,
    "ttl": _kept,
    "unique": _unique,
    "debounce": _debounced,
    "fair": _fair,
}


def _moment(seconds: Any) -> dt.datetime | None:
    """Epoch seconds as a time; None for what is none: other programs write jobs too."""
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC) if seconds else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _limits(entries: Any) -> str:
    """Names and numbers of the limits of a job; their keys may be of redacted arguments."""
    try:
        found = [(name, str(numbers_in(rule))) for name, _, rule in entries or () if not name.startswith(FAIR)]
    except (TypeError, ValueError, IndexError, AttributeError):
        return ""
    return "; ".join(f"{name}: {numbers}" for name, numbers in found)


def _limits_of(task: Task[..., Any], limits: Any) -> str:
    return "; ".join(f"{name_of(limit, task.name)}: {LimitNumbers.of(limit)}" for limit in limits)


def _debounce(entry: Any) -> str:
    try:
        wait, longest = float(entry[0]), float(entry[1])
    except (TypeError, ValueError, IndexError, KeyError):
        return ""
    return f"{lasting(wait)} after the last call" + (f", at most {lasting(longest)} after the first" if longest else "")
