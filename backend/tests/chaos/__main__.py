"""`python -m tests.chaos`: the long form, with figures for the docs."""

import asyncio
import dataclasses
import sys
import time

import click
from rich.console import Console
from rich.table import Table

from tests.chaos.run import Plan, run


@click.command()
@click.option("--jobs", default=50_000, show_default=True, help="Jobs to enqueue.")
@click.option("--kills", default=100, show_default=True, help="Workers to kill.")
@click.option("--others", default=4, show_default=True, help="Times that each other fault comes.")
@click.option("--rate", default=150.0, show_default=True, help="Jobs enqueued a second.")
@click.option("--seed", type=int, help="Repeats a run; by default another one each time.")
def main(jobs: int, kills: int, others: int, rate: float, seed: int | None) -> None:
    """Hurt workers, Redis and the network while jobs run, and tell what became of the jobs."""
    import tests.chaos.worker  # noqa: F401  (replaces the application's tasks in this process)

    console = Console()
    seed = int(time.time()) % 1_000_000 if seed is None else seed
    console.print(f"seed {seed}; repeat with --seed {seed}")
    plan = Plan.of(seed, jobs, kills, others, rate)
    verdict, others_told = asyncio.run(run(plan, lambda line: console.print(line, highlight=False)))
    table = Table("", "", title="Chaos")
    for name, value in {**dataclasses.asdict(verdict), **others_told}.items():
        style = "red" if name in verdict.faults else ""
        table.add_row(name.replace("_", " "), str(value), style=style)
    console.print(table)
    sys.exit(1 if verdict.faults else 0)


if __name__ == "__main__":
    main()
