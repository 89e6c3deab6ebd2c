"""`dead`: list, replay and discard dead letters."""

import asyncio
import dataclasses
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import click
import msgspec

from saqueduct import record_sessions as records
from saqueduct.application import Saqueduct
from saqueduct.cli import options, output
from saqueduct.cli.audit import entry
from saqueduct.cli.connection import connected
from saqueduct.cli.failures import FAILED, Failure
from saqueduct.cli.jobs import each, show_history, show_page
from saqueduct.cli.nouns import Nouns
from saqueduct.errors import DeadLetterNotFound, InvalidArguments, InvalidSearch
from saqueduct.postgres.dead_letters import DeadLetters, Resolved
from saqueduct.postgres.job_details import JobDetails
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.record_filter import DeadLetterFilter, RecordFilter
from saqueduct.tasks.registry import TaskRegistry

REASONS = 5
"""Refused dead letters that are shown one by one."""


@click.group(cls=Nouns)
def dead() -> None:
    """Look at dead letters, replay and discard them."""


@dead.command("list")
@click.option("--queue", help="Of this queue.")
@options.filters
@options.paging
@options.as_json
@connected
async def list_dead(
    saqueduct: Saqueduct, *, queue: str | None, limit: int, cursor: str | None, as_json: bool, **given: Any
) -> None:
    """List the dead letters that wait to be replayed or discarded, newest first."""
    which = options.record_filter(saqueduct.registry, queue=queue, **given)
    async with records.history(saqueduct) as history:
        page = await history.dead_letters(which, cursor, limit, saqueduct.config.sizes.searched_records)
        found = [JobDetails.of_record(saqueduct.queues, record) for record in page.records]
    show_page(
        found, page.cursor, as_json=as_json, nothing="no dead letters match", dead=True, since=page.searched_since
    )


@dead.command()
@click.argument("key")
@options.as_json
@connected
async def show(saqueduct: Saqueduct, key: str, *, as_json: bool) -> None:
    """Show a dead letter: each attempt's error, who resolved it, and what became of its replays."""
    if not any(record.status == "failed" for record in await _records(saqueduct, key)):
        raise DeadLetterNotFound(key)
    await show_history(saqueduct, key, as_json=as_json)


_many = options.together(
    click.argument("keys", metavar="[KEY]...", nargs=-1),
    click.option("--all", "everything", is_flag=True, help="All of them, in place of keys and filters."),
    options.filters,
    click.option("--from-queue", help="Of this queue."),
    click.option("--yes", is_flag=True, help="Do not ask."),
    click.option("--dry-run", is_flag=True, help="Count only."),
    options.who,
    options.as_json,
)


@dead.command()
@_many
@click.option(
    "--set",
    "changes",
    type=options.Pair(),
    multiple=True,
    help="Another value for an argument; again for further ones.",
)
@click.option("--queue", help="Another queue than the one it was in.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=50.0, show_default=True, help="Jobs a second."
)
@connected
async def replay(
    saqueduct: Saqueduct,
    keys: tuple[str, ...],
    *,
    by: str,
    why: str,
    changes: tuple[tuple[str, str], ...],
    queue: str | None,
    rate: float,
    **given: Any,
) -> None:
    """Enqueue the jobs of dead letters again: those of these keys, or all that match."""
    if queue is not None:
        saqueduct.queues.look_up(queue)

    async def one(letters: DeadLetters, key: str) -> str:
        task = await _task_of(saqueduct, key) if changes else None
        arguments = options.arguments_of(saqueduct.registry, task, changes)
        try:
            made = await letters.replay(key, by=by, why=why, arguments=arguments, queue=queue)
        except InvalidArguments as error:
            remedies = {name: f"{problem}, with --set {name}=VALUE" for name, problem in error.problems.items()}
            raise InvalidArguments(error.task, remedies) from None
        await letters.audit.add(entry("replay", "dead letter", [key], why=why))
        return made

    async def some(letters: DeadLetters, which: DeadLetterFilter, so_far: Resolved) -> bool:
        arguments = options.arguments_of(saqueduct.registry, given["task"], changes)
        return await letters.replay_some(which, so_far, by=by, why=why, arguments=arguments, queue=queue, rate=rate)

    await _resolve(saqueduct, Action("replay", one, some, why, rate), keys, given)


@dead.command()
@_many
@connected
async def discard(saqueduct: Saqueduct, keys: tuple[str, ...], *, by: str, why: str, **given: Any) -> None:
    """Discard dead letters: those of these keys, or all that match. Their records stay."""

    async def one(letters: DeadLetters, key: str) -> None:
        await letters.discard(key, by=by, why=why)
        await letters.audit.add(entry("discard", "dead letter", [key], why=why))

    async def some(letters: DeadLetters, which: DeadLetterFilter, so_far: Resolved) -> bool:
        return await letters.discard_some(which, so_far, by=by, why=why)

    await _resolve(saqueduct, Action("discard", one, some, why), keys, given)


async def _records(saqueduct: Saqueduct, given: str) -> Sequence[JobRecord]:
    key, queue = saqueduct.queues.locate(given)
    async with records.history(saqueduct) as history:
        return await history.find(key, queue=queue)


async def _task_of(saqueduct: Saqueduct, key: str) -> str | None:
    found = await _records(saqueduct, key)
    return found[0].task if found else None


def _which(
    registry: TaskRegistry, action: "Action", keys: tuple[str, ...], given: dict[str, Any]
) -> DeadLetterFilter | None:
    """The filter of a call; None: the call names keys."""
    names = ("task", "pairs", "error", "tag", "trace", "since", "until")
    which = options.record_filter(registry, queue=given["from_queue"], **{name: given[name] for name in names})
    try:
        if not keys:
            return DeadLetterFilter(**msgspec.structs.asdict(which), all=given["everything"])
        if which == RecordFilter() and not given["everything"]:
            return None
    except InvalidSearch:
        # Neither a filter that leaves some out nor all of them, or both.
        pass
    raise click.UsageError(f"say what to {action.verb}: keys, or filters such as --task, or --all")


@dataclasses.dataclass(frozen=True)
class Action:
    """An action on dead letters.

    Attributes:
        verb: "replay" or "discard".
        one: does it to the one with a key; returns the key of the new job, if any.
        some: does it to a batch of matching ones.
        why: the reason.
        rate: jobs to start per second; None: immediately.
    """

    verb: Literal["replay", "discard"]
    one: Callable[[DeadLetters, str], Awaitable[str | None]]
    some: Callable[[DeadLetters, DeadLetterFilter, Resolved], Awaitable[bool]]
    why: str = ""
    rate: float | None = None

    @property
    def done(self) -> str:
        """The past participle of the verb."""
        return f"{self.verb}ed"


async def _resolve(saqueduct: Saqueduct, action: Action, keys: tuple[str, ...], given: dict[str, Any]) -> None:
    """Do it to the keys one by one, or to all that match."""
    which, as_json = _which(saqueduct.registry, action, keys, given), given["as_json"]
    if which is None and not given["dry_run"]:
        await _one_by_one(saqueduct, action, keys, as_json=as_json)
        return
    count = len(set(keys)) if which is None else await _count(saqueduct, which)
    if which is None or given["dry_run"]:
        output.emit({"count": count}) if as_json else output.show(f"{_letters(count)} to {action.verb}")
        return
    if count:
        _ask(f"{action.verb} {_letters(count)}", yes=given["yes"])
    so_far = Resolved()
    try:
        await _in_batches(saqueduct, action, which, so_far, count)
    finally:
        _tell(so_far, action.done, as_json=as_json)
    if so_far.refused:
        raise click.exceptions.Exit(FAILED)


async def _one_by_one(saqueduct: Saqueduct, action: Action, keys: tuple[str, ...], *, as_json: bool) -> None:
    async def alone(key: str) -> str | None:
        async with records.dead_letters(saqueduct) as letters:
            return await action.one(letters, key)

    await each(keys, alone, action.done, as_json=as_json, answers=action.verb == "replay")


async def _count(saqueduct: Saqueduct, which: RecordFilter) -> int:
    async with records.dead_letters(saqueduct) as letters:
        return await letters.count(which)


def _ask(what: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"{what} needs a confirmation: add --yes, or --dry-run to count them")
    click.confirm(f"{what[0].upper()}{what[1:]}?", abort=True, err=True)


async def _in_batches(
    saqueduct: Saqueduct, action: Action, which: DeadLetterFilter, so_far: Resolved, count: int
) -> None:
    """Each batch in a transaction of its own; the next one begins when the last job of the one before starts."""
    loop, reached = asyncio.get_running_loop(), 0
    selected = {name: value for name, value in msgspec.structs.asdict(which).items() if value}
    noted, what = None, entry(action.verb, "dead letter", [], why=action.why, filter=selected)
    with output.bar(action.done, count) as bar:
        while reached < count:
            began, before = loop.time(), so_far.done
            async with records.dead_letters(saqueduct) as letters:
                more = await action.some(letters, which, so_far)
                noted = await letters.audit.count(noted, what, so_far.batch)
            if so_far.dropped:
                async with records.dead_letters(saqueduct) as letters:
                    await letters.audit.withdraw(noted, so_far.dropped)
            reached = so_far.done + len(so_far.refused)
            bar.reach(reached)
            if not more:
                return
            if action.rate is not None and reached < count:
                await asyncio.sleep(max(0.0, (so_far.done - before) / action.rate - (loop.time() - began)))


def _letters(count: int) -> str:
    return output.counted(count, "dead letter")


def _tell(so_far: Resolved, done: str, *, as_json: bool) -> None:
    if as_json:
        output.emit({done: so_far.done, "refused": so_far.refused})
        return
    output.show(f"{done} {_letters(so_far.done)}")
    for key, reason in list(so_far.refused.items())[:REASONS]:
        click.echo(f"error: {output.clean(key)}: {output.clean(reason, one_line=True)}", err=True)
    if len(so_far.refused) > REASONS:
        click.echo(f"error: and {len(so_far.refused) - REASONS:,} more, see --json", err=True)
