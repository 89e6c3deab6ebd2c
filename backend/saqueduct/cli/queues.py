"""`queues`: numbers, pausing, resuming and draining."""

import asyncio
import contextlib
import datetime as dt

import click
import msgspec
from rich.console import Group
from rich.live import Live
from rich.text import Text
from sqlalchemy import func, select

from saqueduct import record_sessions as records
from saqueduct.application import Saqueduct
from saqueduct.cli import options, output
from saqueduct.cli.audit import entry
from saqueduct.cli.connection import connected
from saqueduct.cli.failures import FAILED
from saqueduct.cli.nouns import Nouns
from saqueduct.cli.pauses import PauseView
from saqueduct.common.clock import time_now
from saqueduct.postgres.history import DEAD
from saqueduct.postgres.models import JobRecord, OutboxJob
from saqueduct.queue.listing import JobListing
from saqueduct.queue.queue import EngineQueue

LOOK = 0.5
"""Seconds between two updates of a progress bar."""


class QueueView(msgspec.Struct):
    """The numbers of a queue."""

    name: str
    queued: int
    """Jobs that wait to run."""
    active: int
    scheduled: int
    """Delayed jobs."""
    workers: int
    """Live ones."""
    dead: int | None
    """Dead letters; None: there is no PostgreSQL."""
    outbox: int | None
    """Rows of the outbox: jobs to be published, and durable ones that have not ended; None as above."""
    oldest: float | None
    """Seconds since the enqueue of the first waiting job."""
    paused: PauseView | None


@click.group(cls=Nouns)
def queues() -> None:
    """See, pause, resume and drain queues."""


@queues.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C; with --json an object a line.")
@click.option("--every", type=options.Duration(), default="2s", show_default=True, help="Between two looks of --watch.")
@options.as_json
@connected
async def stats(saqueduct: Saqueduct, names: tuple[str, ...], *, watch: bool, every: float, as_json: bool) -> None:
    """Count jobs, workers, dead letters and rows of the outbox, a line a queue."""
    which = [saqueduct.queues.look_up(name) for name in names] or list(saqueduct.queues)
    if not watch:
        found = await _views(saqueduct, which)
        if as_json:
            output.emit({"queues": found})
        else:
            output.show(_shown(found))
        return
    with contextlib.suppress(asyncio.CancelledError):
        await (_watch_json if as_json else _watch)(saqueduct, which, max(0.1, every))


async def _watch(saqueduct: Saqueduct, which: list[EngineQueue], every: float) -> None:
    screen = output.console()
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            numbers = _shown(await _views(saqueduct, which))
            if screen.is_terminal:
                live.update(numbers, refresh=True)
            else:
                screen.print(numbers)
            await asyncio.sleep(every)


async def _watch_json(saqueduct: Saqueduct, which: list[EngineQueue], every: float) -> None:
    while True:
        found = await _views(saqueduct, which)
        output.emit_line({"at": dt.datetime.now(dt.UTC), "queues": found})
        await asyncio.sleep(every)


async def _views(saqueduct: Saqueduct, which: list[EngineQueue]) -> list[QueueView]:
    if saqueduct.store is None:
        return [await _view(queue, None, None) for queue in which]
    async with records.transaction(saqueduct) as session:
        dead = await session.execute(select(JobRecord.queue, func.count()).where(*DEAD).group_by(JobRecord.queue))
        waiting = await session.execute(select(OutboxJob.queue, func.count()).group_by(OutboxJob.queue))
        dead_by_name, rows_by_name = ({name: int(count) for name, count in answer} for answer in (dead, waiting))
    return [await _view(queue, dead_by_name.get(queue.name, 0), rows_by_name.get(queue.name, 0)) for queue in which]


async def _view(queue: EngineQueue, dead: int | None, rows: int | None) -> QueueView:
    numbers = await queue.stats()
    first = (await JobListing([queue], "queued").page(lambda _: True, None, 1)).jobs if numbers.queued else []
    return QueueView(
        name=queue.name,
        queued=numbers.queued,
        active=numbers.active,
        scheduled=numbers.scheduled,
        workers=numbers.workers,
        dead=dead,
        outbox=rows,
        oldest=max(0.0, time_now() - first[0].queued / 1000) if first else None,
        paused=PauseView.of(numbers.paused) if numbers.paused else None,
    )


def _shown(found: list[QueueView]) -> Group:
    rows: list[tuple[Text | str, ...]] = []
    for view in found:
        numbers = (view.queued, view.active, view.scheduled, view.workers, view.dead, view.outbox)
        cells = [Text("" if number is None else f"{number:,}", style="" if number else "dim") for number in numbers]
        if view.dead:
            cells[4].stylize("red")
        if not view.workers and (view.queued or view.scheduled):
            cells[3].stylize("red")
        oldest = output.lasting(view.oldest) if view.oldest is not None else ""
        rows.append((view.name, *cells, oldest))
    heads = ("Queue", "Queued#", "Active#", "Delayed#", "Workers#", "Dead#", "Outbox#", "Oldest#")
    pauses = [output.line(f"{view.name} is paused {view.paused}", "yellow") for view in found if view.paused]
    return Group(output.table(*heads, rows=rows, fixed=("Queue", "Oldest")), *pauses)


@queues.command()
@click.argument("name")
@options.who
@options.as_json
@connected
async def pause(saqueduct: Saqueduct, name: str, *, by: str, why: str, as_json: bool) -> None:
    """Stop workers from taking jobs of a queue, until it is resumed; running jobs and enqueue continue."""
    paused = PauseView.of(await saqueduct.queues.look_up(name).pause(by, why))
    await saqueduct.queues.audit.note(entry("pause", "queue", [name], queue=name, why=why))
    output.answer({"name": name, "paused": paused}, f"paused {name} {paused}", as_json=as_json)


@queues.command()
@click.argument("name")
@options.as_json
@connected
async def resume(saqueduct: Saqueduct, name: str, *, as_json: bool) -> None:
    """Let workers take jobs of a queue again."""
    was_paused = await saqueduct.queues.look_up(name).resume()
    if was_paused:
        await saqueduct.queues.audit.note(entry("resume", "queue", [name], queue=name))
    text = f"resumed {name}" if was_paused else f"{name} was not paused"
    output.answer({"name": name, "was_paused": was_paused}, text, as_json=as_json)


@queues.command()
@click.argument("name")
@click.option(
    "--timeout", "patience", type=options.Duration(), default=60.0, show_default="60s", help="How long to wait."
)
@options.who
@options.as_json
@connected
async def drain(saqueduct: Saqueduct, name: str, *, patience: float, by: str, why: str, as_json: bool) -> None:
    """Pause a queue, and wait until none of its jobs runs; it stays paused. Ends with 1 when some still do."""
    queue = saqueduct.queues.look_up(name)
    await queue.pause(by, why or "to drain")
    await saqueduct.queues.audit.note(entry("pause", "queue", [name], queue=name, why=why or "to drain"))
    left = await _wait(queue, patience)
    text = f"drained {name}; it stays paused, `queues resume {name}` ends that"
    if left:
        text = f"paused {name}; {left:,} still active after {output.lasting(patience)}"
    output.answer({"name": name, "active": left}, text, as_json=as_json)
    if left:
        raise click.exceptions.Exit(FAILED)


async def _wait(queue: EngineQueue, patience: float) -> int:
    """Wait with a progress bar until nothing runs; returns the number of jobs that still run after so many seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    left = most = (await queue.stats()).active
    with output.bar("draining", most) as bar:
        while left and (remaining := end - loop.time()) > 0:
            left = await queue.wait_until_idle(min(LOOK, remaining))
            most = max(most, left)
            bar.reach(most - left)
    return left
