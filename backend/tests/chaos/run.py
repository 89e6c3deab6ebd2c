"""A chaos run: jobs are enqueued while everything around them is hurt; then the oracle judges."""

import asyncio
import time
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from saqueduct import get_registry
from tests.chaos import evidence
from tests.chaos.evidence import Evidence
from tests.chaos.excuses import Excuses
from tests.chaos.faults import FAULTS, Fault, Window, inflict
from tests.chaos.figures import figures
from tests.chaos.journal import read
from tests.chaos.oracle import Verdict, judge
from tests.chaos.plans import Plan
from tests.chaos.stage import Stage, staged
from tests.chaos.tasks import install
from tests.chaos.workload import incomplete, taking

Report = Callable[[str], None]

BETWEEN = (0.2, 2.0)
"""Seconds between two faults."""

LOOK = 0.3


async def run(plan: Plan, report: Report = print, keep: Path | None = None) -> Verdict:
    """Carry out a plan, and judge it; copies logs and journal to `keep`."""
    with get_registry().isolated():
        install()
        async with staged(plan, keep) as stage:
            begun = time.monotonic()
            windows = await _hurt(stage, plan, report)
            report("all faults are over, and all jobs are enqueued")
            stalled = await _settle(stage, plan.patience)
            report("all workers are replaced")
            idle = await _replace_workers(stage)
            # What another worker finds now was not settled by those that stopped orderly.
            left = await _settle(stage, plan.patience)
            await asyncio.to_thread(stage.fleet.stop)
            found = await _evidence(stage, plan, windows, idle)
            found.stalled, found.left = stalled, left
            return judge(found, _figures(stage, found, time.monotonic() - begun))


async def _replace_workers(stage: Stage) -> tuple[float, float]:
    """Stop all workers, and start as many; returns the time, in epoch seconds, in which there was none."""
    begun = time.time()
    await asyncio.to_thread(stage.fleet.stop)
    await asyncio.to_thread(stage.fleet.start_afresh)
    return begun, time.time()


async def _hurt(stage: Stage, plan: Plan, report: Report) -> list[Window]:
    faults = [FAULTS[name] for name in plan.order()]
    lanes = [faults]
    if plan.together:
        lanes = [list(each) for _, each in groupby(sorted(faults, key=_lane), _lane)]
    windows: list[Window] = []
    async with asyncio.TaskGroup() as group:
        reviving = group.create_task(_revive(stage))
        inflicting = asyncio.gather(*(_inflict(stage, lane, windows, report) for lane in lanes))
        await group.create_task(stage.workload.run(inflicting))
        await inflicting
        reviving.cancel()
    return windows


def _lane(fault: Fault) -> str:
    return fault.lane


async def _inflict(stage: Stage, faults: Iterable[Fault], windows: list[Window], report: Report) -> None:
    for fault in faults:
        await asyncio.sleep(stage.chance.uniform(*BETWEEN))
        report(fault.name)
        windows.append(await inflict(stage, fault))


async def _revive(stage: Stage) -> None:
    while True:
        await asyncio.sleep(LOOK)
        stage.fleet.revive()


async def _settle(stage: Stage, patience: float) -> dict[str, int]:
    """Wait until all has ended, for so long at most; returns what has not."""
    deadline = time.monotonic() + patience
    while any((left := await _left(stage)).values()) and time.monotonic() < deadline:
        stage.fleet.revive()
        await asyncio.sleep(LOOK)
    return left


async def _left(stage: Stage) -> dict[str, int]:
    return {
        "jobs in Redis that have not ended": await incomplete(stage.redis.url),
        "jobs in Redis that take a limit": await taking(stage.redis.url),
        "rows of the outbox": await evidence.outbox(stage.engine),
        "records of jobs that wait": await evidence.open_records(stage.engine),
    }


async def _evidence(stage: Stage, plan: Plan, windows: list[Window], idle: tuple[float, float]) -> Evidence:
    lines, workload = read(stage.journal), stage.workload
    committed, runs = await evidence.ledger(stage.engine)
    return Evidence(
        tasks=workload.tasks,
        acknowledged=workload.acknowledged,
        failures_due=workload.failures_due,
        numbers=workload.numbers,
        lines=lines,
        ends=dict(stage.announcements.ends),
        stored=await evidence.stored(stage.redis.url, list(workload.tasks)),
        records=await evidence.records(stage.engine),
        committed=committed,
        runs=runs,
        excuses=Excuses.of(stage.fleet.harmed, windows, lines, idle, stage.fleet.stopped),
        stops_late=stage.fleet.stops_late,
        slots=plan.slots,
        workers=plan.workers,
    )


def _figures(stage: Stage, found: Evidence, seconds: float) -> dict[str, Any]:
    return {
        "seconds": round(seconds),
        "faults": dict(found.excuses.counts()),
        **figures(found),
        "enqueues refused": dict(stage.workload.refused),
        "transactions committed": len(found.committed),
        "producers that failed": stage.producers_failed,
        "workers that ended by themselves": stage.fleet.deaths,
        "clocks wrong": stage.fleet.skewed,
    }
