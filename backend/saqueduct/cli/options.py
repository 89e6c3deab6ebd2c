"""Options that several commands share, and the types of their values: times, durations, arguments."""

import datetime as dt
import getpass
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
import msgspec

from saqueduct.cli import output
from saqueduct.cli.failures import Failure
from saqueduct.common.moments import moment_of, seconds_of
from saqueduct.common.strict_json import RepeatedMember, decode
from saqueduct.common.text import LONGEST_REMARK
from saqueduct.errors import UnknownTask
from saqueduct.postgres.record_filter import LARGEST_PAGE, PAGE, RecordFilter
from saqueduct.tasks.encoding import convert
from saqueduct.tasks.registry import TaskRegistry

F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType[Any]):
    """Seconds, from `30s`, `1h30m` or a bare number."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        seconds = seconds_of(f"{value}s" if re.fullmatch(r"\d+(\.\d+)?", value) else value)
        if seconds is None:
            self.fail(f"{value!r} is no duration such as 30s, 5m, 1h30m, 7d", param, ctx)
        return seconds


class Moment(click.ParamType[Any]):
    """A time: a duration before now, or ISO 8601, in this machine's zone if it names none."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        if isinstance(value, dt.datetime):
            return value
        try:
            return moment_of(value, None)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Pair(click.ParamType[Any]):
    """`name=value`."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, sign, given = value.partition("=")
        if not name or not sign:
            self.fail(f"{value!r} is not of the form name=value", param, ctx)
        return name, given


def arguments_of(registry: TaskRegistry, task: str | None, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Arguments of `name=value`: JSON if the value is valid JSON, else text; for a known task, converted for its
    parameter.

    >>> arguments_of(TaskRegistry(), None, [("user_id", "7"), ("to", "ada@example.com")])
    {'user_id': 7, 'to': 'ada@example.com'}

    Raises:
        Failure: one is given twice, or a member of its value.
    """
    pairs = list(pairs)
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Failure(f"{', '.join(twice)} given twice: give one value of each")
    return {name: _value(registry, task, name, text) for name, text in pairs}


def _value(registry: TaskRegistry, task: str | None, name: str, text: str) -> Any:
    try:
        value = decode(text)
    except msgspec.DecodeError:
        return text
    except RepeatedMember as error:
        raise Failure(f"{name}: {error}") from None
    parameter = registry.get(task).signature.payload.get(name) if task is not None and task in registry else None
    if parameter is None or _fits(value, parameter.type) or not _fits(text, parameter.type):
        return value
    # `code=007` and `name=true` of a text.
    return text


def _fits(value: Any, type_: Any) -> bool:
    try:
        convert(value, type_)
    except msgspec.ValidationError:
        return False
    return True


def together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Several decorators as one, in the order in which they would be written above the function."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout.")

patience = click.option(
    "--timeout", "patience", type=Duration(), default="60s", show_default=True, help="How long to wait."
)

paging = together(
    click.option(
        "--limit", type=click.IntRange(1, LARGEST_PAGE), default=PAGE, show_default=True, help="Jobs of a page."
    ),
    click.option("--cursor", help="Where the page before ended; it is printed there."),
)

filters = together(
    click.option("--task", help="Of this task."),
    click.option("--arg", "pairs", type=Pair(), multiple=True, help="With this argument; again for further ones."),
    click.option("--error", help="Whose error holds this text."),
    click.option("--tag", help="With this tag."),
    click.option("--trace", help="Of this trace, or with an attempt in it: 32 hex digits."),
    click.option("--since", type=Moment(), help="Enqueued then or later: 2h, 7d, 2026-05-01T09:00."),
    click.option("--until", type=Moment(), help="Enqueued before then."),
)


def record_filter(
    registry: TaskRegistry,
    *,
    task: str | None,
    pairs: Iterable[tuple[str, str]],
    error: str | None,
    tag: str | None,
    trace: str | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
    queue: str | None = None,
    status: str | None = None,
) -> RecordFilter:
    """The filter of the options `filters`. A task that the application lacks may have records, and is noted."""
    if task is not None and task not in registry:
        output.note(str(UnknownTask(task, (each.name for each in registry.get_all_tasks()))))
    arguments = arguments_of(registry, task, pairs) or None
    return RecordFilter(
        task=task, status=status, queue=queue, arguments=arguments, error=error, tag=tag, trace=trace,
        since=since, until=until,
    )  # fmt: skip


def user() -> str:
    """The name of the operating system's user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run with a user id that has no name.
        return "unknown"


class Remark(click.ParamType[Any]):
    """Text that is kept with what was done."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text.

        Raises:
            click.BadParameter: it is too long.
        """
        if len(value) > LONGEST_REMARK:
            self.fail(f"it has {len(value):,} characters, and {LONGEST_REMARK} are kept: shorten it", param, ctx)
        return value


who = together(
    click.option(
        "--by", type=Remark(), default=user, show_default="the system's user", help="Who does it, for the record."
    ),
    click.option("--why", type=Remark(), default="", help="Why, for the record."),
)
