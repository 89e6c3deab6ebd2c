"""`python -m tests.chaos`: the long forms of the plans, with figures for the docs."""

import asyncio
import dataclasses
import logging
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tests.chaos.faults import FAULTS
from tests.chaos.oracle import QUESTIONS, Verdict
from tests.chaos.plans import PLANS, Plan
from tests.chaos.run import run

console = Console()


class Faults(click.ParamType["dict[str, int]"]):
    """Faults and how often they come, such as "kill=20, lock records=3"."""

    name = "faults"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        chosen = {}
        for part in value.split(","):
            name, _, times = part.strip().partition("=")
            if name not in FAULTS or not (times or "1").isdigit():
                self.fail(f"{part.strip()!r}: write NAME or NAME=TIMES; there are: {', '.join(sorted(FAULTS))}")
            chosen[name] = int(times or 1)
        return chosen


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--plan", "names", multiple=True, type=click.Choice(list(PLANS)), help="What to do; by default all plans."
)
@click.option("--faults", type=Faults(), help='Instead of the plan\'s: "kill=20, lock records=3".')
@click.option("--jobs", type=click.IntRange(min=1), help="Jobs to enqueue, instead of the plan's number.")
@click.option("--rate", type=click.FloatRange(min=0.1), help="Jobs enqueued a second, instead of the plan's.")
@click.option("--scale", type=click.FloatRange(min=0.001), default=1.0, help="Factor for jobs and faults [1.0].")
@click.option("--together/--in-turn", default=None, help="Let faults of different servers overlap, or not.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder for the logs and the journal.")
@click.option("--seed", type=int, help="Repeats a run; by default another one each time.")
@click.option("--list", "listed", is_flag=True, help="List plans and faults.")
def main(
    names: tuple[str, ...], seed: int | None, keep: Path | None, *, scale: float, listed: bool, **changes: Any
) -> None:
    """Hurt what can be hurt while jobs run, and show what became of the jobs. Ends with 1 where something is wrong."""
    if listed:
        _list()
        return
    # That servers are away is no news here.
    logging.getLogger("app").setLevel(logging.ERROR)
    seed = int(time.time()) % 1_000_000 if seed is None else seed
    faulty = False
    for name in names or PLANS:
        given = {name: value for name, value in changes.items() if value is not None}
        plan = dataclasses.replace(_scaled(PLANS[name], scale), seed=seed, **given)
        console.print(f"plan {name}, seed {seed}: {plan.jobs} jobs, {sum(plan.faults.values())} faults")
        verdict = asyncio.run(run(plan, _report, keep and keep / name))
        _show(f"{name}, seed {seed}", verdict)
        faulty = faulty or bool(verdict.faults)
    sys.exit(1 if faulty else 0)


def _scaled(plan: Plan, scale: float) -> Plan:
    faults = {name: max(1, round(times * scale)) for name, times in plan.faults.items()}
    return dataclasses.replace(plan, faults=faults, jobs=max(1, round(plan.jobs * scale)))


def _report(line: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')} {line}", highlight=False)


def _show(title: str, verdict: Verdict) -> None:
    table = Table("", "", "for example", title=title)
    for name, cases in verdict.cases.items():
        table.add_row(name, str(len(cases)), "\n".join(cases[:3]), style="red" if cases else "")
    table.add_section()
    for name, value in verdict.figures.items():
        table.add_row(name, _shown(value))
    console.print(table)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {count}" for name, count in value.items())
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _list() -> None:
    table = Table("plan", "jobs", "faults", title="Plans")
    for plan in PLANS.values():
        table.add_row(plan.name, str(plan.jobs), ", ".join(f"{name}={times}" for name, times in plan.faults.items()))
    console.print(table)
    table = Table("fault", "hits", "seconds", "", title="Faults")
    for fault in FAULTS.values():
        table.add_row(fault.name, fault.lane, "to ".join(f"{each:g} " for each in fault.lasts), fault.doc)
    console.print(table)
    table = Table("question", "", title="What must not be")
    for name, ask in QUESTIONS.items():
        table.add_row(name, ask.__doc__)
    console.print(table)


if __name__ == "__main__":
    main()
