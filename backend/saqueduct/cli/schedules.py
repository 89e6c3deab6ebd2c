"""`schedules`: list, trigger, pause and resume schedules."""

from typing import Any

import click
from rich.console import RenderableType

from saqueduct.application import Saqueduct
from saqueduct.cli import options, output, views
from saqueduct.cli.audit import entry
from saqueduct.cli.connection import connected
from saqueduct.cli.nouns import Nouns
from saqueduct.cli.pauses import PauseView, fields_of, moment
from saqueduct.queue.schedule_states import ScheduleState


@click.group(cls=Nouns)
def schedules() -> None:
    """See, trigger, pause and resume schedules."""


@schedules.command("list")
@options.as_json
@connected
async def list_schedules(saqueduct: Saqueduct, *, as_json: bool) -> None:
    """List the schedules: when they are due, next tick, last job, and who has paused which."""
    states = sorted(await saqueduct.queues.schedules(), key=lambda state: state.key)
    if as_json:
        output.emit({"schedules": [_described(state) for state in states]})
        return
    rows = [(_name(state), state.timing, _next(state), state.last_job or "") for state in states]
    output.show(output.table("Schedule", "Due", "Next tick", "Last job", rows=rows, fixed=("Schedule", "Next tick")))
    for state in states:
        if state.paused is not None:
            output.show(output.line(f"{state.key} is paused {PauseView.of(state.paused)}", "yellow"))


def _described(state: ScheduleState) -> dict[str, Any]:
    return fields_of(state) | {"next_tick": None if state.next_tick is None else moment(state.next_tick)}


def _name(state: ScheduleState) -> RenderableType:
    name = output.line(state.key)
    if state.key != state.task:
        name.append(f"  {output.clean(state.task)}", style="dim")
    return name


def _next(state: ScheduleState) -> RenderableType:
    if state.paused is not None:
        return output.word("paused")
    if state.next_tick is None:
        return output.line("when a worker runs", "dim")
    return output.line(output.when(moment(state.next_tick)))


@schedules.command()
@click.argument("key")
@options.as_json
@connected
async def trigger(saqueduct: Saqueduct, key: str, *, as_json: bool) -> None:
    """Make a job of a schedule now, also while it is paused; its ticks stay as they are."""
    job = await saqueduct.queues.trigger_schedule(key)
    if job.created:
        await saqueduct.queues.audit.note(entry("trigger", "schedule", [key, job.key], task=job.function))
    views.show_enqueued(job, as_json=as_json)


@schedules.command()
@click.argument("key")
@options.who
@options.as_json
@connected
async def pause(saqueduct: Saqueduct, key: str, *, by: str, why: str, as_json: bool) -> None:
    """Pause a schedule until it is resumed: its ticks make no jobs, and those that come due meanwhile are skipped."""
    paused = PauseView.of(await saqueduct.queues.pause_schedule(key, by, why))
    await saqueduct.queues.audit.note(entry("pause", "schedule", [key], why=why))
    output.answer({"key": key, "paused": paused}, f"paused {key} {paused}", as_json=as_json)


@schedules.command()
@click.argument("key")
@options.as_json
@connected
async def resume(saqueduct: Saqueduct, key: str, *, as_json: bool) -> None:
    """Resume a schedule, from its next tick on."""
    was_paused = await saqueduct.queues.resume_schedule(key)
    if was_paused:
        await saqueduct.queues.audit.note(entry("resume", "schedule", [key]))
    text = f"resumed {key}" if was_paused else f"{key} was not paused"
    output.answer({"key": key, "was_paused": was_paused}, text, as_json=as_json)
