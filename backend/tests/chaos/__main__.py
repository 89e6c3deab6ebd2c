"""`python -m tests.chaos`: the long forms, with figures for the docs."""

import asyncio
import dataclasses
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from alembic import command
from alembic.config import Config
from rich.console import Console
from rich.table import Table

from app.dev.postgres import EmbeddedPostgres
from tests.chaos.run import Plan, run
from tests.fixtures.servers import scratch_directory

console = Console()


@click.command()
@click.option("--jobs", default=50_000, show_default=True, help="Jobs to enqueue.")
@click.option("--kills", default=100, show_default=True, help="Workers to kill.")
@click.option("--others", default=4, show_default=True, help="Times that each other fault comes.")
@click.option("--rate", default=150.0, show_default=True, help="Jobs enqueued a second.")
@click.option("--seed", type=int, help="Repeats a run; by default another one each time.")
@click.option("--memory", is_flag=True, help="Kill producers and wipe Redis instead, and ask PostgreSQL.")
@click.option("--producers", default=200, show_default=True, help="With --memory: producers to kill.")
@click.option("--durable", default=10_000, show_default=True, help="With --memory: durable jobs to enqueue.")
@click.option("--wipes", default=8, show_default=True, help="With --memory: times that Redis loses everything.")
def main(seed: int | None, *, memory: bool, **numbers: Any) -> None:
    """Hurt what can be hurt while jobs run, and tell what became of the jobs."""
    seed = int(time.time()) % 1_000_000 if seed is None else seed
    console.print(f"seed {seed}; repeat with --seed {seed}")
    if memory:
        sys.exit(_memory(seed, numbers["producers"], numbers["durable"], numbers["wipes"]))
    import tests.chaos.worker  # noqa: F401  (replaces the application's tasks in this process)

    plan = Plan.of(seed, numbers["jobs"], numbers["kills"], numbers["others"], numbers["rate"])
    verdict, others_told = asyncio.run(run(plan, _tell))
    _show("Chaos", {**dataclasses.asdict(verdict), **others_told}, verdict.faults)
    sys.exit(1 if verdict.faults else 0)


def _memory(seed: int, producers: int, durable: int, wipes: int) -> int:
    from tests.chaos.memory import run_durable, run_outbox

    with scratch_directory() as directory:
        server = EmbeddedPostgres(directory / "postgres")
        try:
            url = server.start()
            os.environ |= {"DATABASE_URL": url, "REDIS_URL": "redis://unused"}
            command.upgrade(Config("alembic.ini"), "head")
            outbox = asyncio.run(run_outbox(url, producers, _tell))
            _show("Outbox", dataclasses.asdict(outbox), outbox.faults)
            kept = asyncio.run(run_durable(url, durable, wipes, seed, _tell))
            _show("Durable jobs", dataclasses.asdict(kept), kept.faults)
        finally:
            server.stop()
    return 1 if outbox.faults or kept.faults else 0


def _tell(line: str) -> None:
    console.print(line, highlight=False)


def _show(title: str, figures: Mapping[str, Any], faults: Sequence[str]) -> None:
    table = Table("", "", title=title)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), str(value), style="red" if name in faults else "")
    console.print(table)


if __name__ == "__main__":
    main()
