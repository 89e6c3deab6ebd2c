"""Running workers from a command line."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import click

from saqueduct.application import Saqueduct
from saqueduct.cli.options import together
from saqueduct.serving import run_worker_process, run_worker_processes

worker_options = together(
    click.option("--workers", type=click.IntRange(min=1), help="Worker processes  [default: 1, or `processes`]"),
    click.option("--queues", multiple=True, help="Names of queues to serve; again or with commas for several."),
    click.option("--concurrency", type=click.IntRange(min=1), help="Jobs of a queue that a process runs at once."),
    click.option(
        "--grace-period", type=click.FloatRange(min=0), help="Seconds that jobs get to end after SIGTERM or Ctrl-C."
    ),
)
"""The options of a command that runs workers, for `run_workers`."""


def run_workers(
    saqueduct: Saqueduct,
    command: Sequence[str],
    lifespans: Sequence[AbstractAsyncContextManager[Any]],
    *,
    workers: int | None,
    queues: Sequence[str],
    concurrency: int | None,
    grace_period: float | None,
) -> None:
    """Run workers until SIGTERM or SIGINT, then end the process.

    Args:
        saqueduct: not connected yet.
        command: runs `workers run` on the same application; the options are added.
        lifespans: what else tasks need, in a process that runs jobs.
        workers: processes; as configured by default.
        queues: names, or several in one text with commas; as configured by default.
        concurrency: as configured by default.
        grace_period: seconds; as configured by default.

    Raises:
        ConfigurationError: the options or the tasks do not fit the settings.
    """
    served = tuple(name.strip() for given in queues for name in given.split(",") if name.strip())
    options = {"concurrency": concurrency, "grace_period": grace_period, "worker_queues": served or None}
    changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    saqueduct.config = dataclasses.replace(saqueduct.config, **changes)
    if (count := workers or saqueduct.config.processes) > 1:
        sys.exit(run_worker_processes(saqueduct, count, [*command, "--workers", "1", *_as_options(changes)]))
    run_worker_process(saqueduct, lifespans=lifespans)


def _as_options(changes: Mapping[str, Any]) -> list[str]:
    names = {"concurrency": "--concurrency", "grace_period": "--grace-period"}
    options = [(names[field], str(value)) for field, value in changes.items() if field in names]
    queues = [("--queues", name) for name in changes.get("worker_queues", ())]
    return [word for pair in (*options, *queues) for word in pair]
