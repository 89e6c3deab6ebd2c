"""`limits`: list, change and reset the limits of tasks."""

import click
from rich.console import RenderableType

from saqueduct.application import Saqueduct
from saqueduct.cli import options, output
from saqueduct.cli.audit import entry
from saqueduct.cli.connection import connected
from saqueduct.cli.failures import Failure
from saqueduct.cli.nouns import Nouns
from saqueduct.cli.pauses import PauseView, fields_of
from saqueduct.queue.limit_states import LimitState
from saqueduct.queue.limits import Limits


@click.group(cls=Nouns)
def limits() -> None:
    """See and change the limits of tasks."""


@limits.command("list")
@options.as_json
@connected
async def list_limits(saqueduct: Saqueduct, *, as_json: bool) -> None:
    """List the limits: their numbers, their tasks, and who has changed which."""
    states = await Limits(saqueduct.queues).states()
    if as_json:
        output.emit({"limits": [fields_of(state) for state in states]})
        return
    if not states:
        output.note("no task has limits")
        return
    output.show(output.table("Limit", "Now", "For each", "Tasks", rows=map(_row, states), fixed=("Limit", "Now")))
    for state in states:
        if state.changed is not None:
            change = f"{state.name} is changed from {state.declared} {PauseView.of(state.changed)}"
            output.show(output.line(change, "yellow"))


@limits.command("set")
@click.argument("name")
@click.option("--limit", type=int, help="Jobs that run at once; of a rate, jobs that start in --per seconds.")
@click.option("--per", type=float, help="Seconds, of a rate.")
@click.option("--burst", type=int, help="Jobs that may start at once after a quiet time, of a rate.")
@options.who
@options.as_json
@connected
async def set_limit(
    saqueduct: Saqueduct,
    name: str,
    *,
    limit: int | None,
    per: float | None,
    burst: int | None,
    by: str,
    why: str,
    as_json: bool,
) -> None:
    """Change a limit, for jobs that wait too, until a reset, or until a deploy declares other numbers."""
    try:
        state = await Limits(saqueduct.queues).change(name, limit=limit, per=per, burst=burst, by=by, why=why)
    except ValueError as error:
        raise Failure(str(error)) from error
    numbers = {"limit": limit, "per": per, "burst": burst}
    given = {each: value for each, value in numbers.items() if value is not None}
    await saqueduct.queues.audit.note(entry("change", "limit", [name], queue=state.queue, filter=given, why=why))
    output.answer(fields_of(state), f"changed {name}: {state.numbers}", as_json=as_json)


@limits.command()
@click.argument("name")
@options.as_json
@connected
async def reset(saqueduct: Saqueduct, name: str, *, as_json: bool) -> None:
    """Return a limit to the numbers in the code."""
    all_limits = Limits(saqueduct.queues)
    was_changed = await all_limits.reset(name)
    if was_changed:
        await saqueduct.queues.audit.note(entry("reset", "limit", [name]))
    text = f"reset {name}: {(await all_limits.state(name)).numbers}" if was_changed else f"{name} was not changed"
    output.answer({"name": name, "was_changed": was_changed}, text, as_json=as_json)


def _row(state: LimitState) -> tuple[RenderableType, ...]:
    numbers = f"{state.numbers}{', ordered' if state.ordered else ''}"
    texts = (state.name, numbers, ", ".join(state.by), ", ".join(state.tasks))
    return tuple(output.line(output.clean(text, one_line=True)) for text in texts)
