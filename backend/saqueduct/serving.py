"""The worker command: one process of workers until a signal, or a supervisor of several."""

import asyncio
import logging
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from saqueduct.application import Saqueduct
from saqueduct.worker.process import ProcessLifetime, run
from saqueduct.worker.supervisor import supervise

logger = logging.getLogger("saqueduct.worker")

EXIT_MISCONFIGURED = 2
"""Exit status of a process that cannot run as it is configured; starting it again would not help."""


def run_worker_process(
    saqueduct: Saqueduct,
    names: Iterable[str] | None = None,
    lifespans: Sequence[AbstractAsyncContextManager[Any]] = (),
) -> None:
    """Run the workers of this process until SIGTERM or SIGINT, then end the process.

    Its status is 0, or `saqueduct.worker.process.EXIT_USELESS` when hanging jobs have made the process so useless that
    it should be restarted.

    Args:
        saqueduct: not connected yet.
        names: of the queues to serve; those of `config.worker_queues` by default.
        lifespans: what else tasks need; entered before the first job and left after the last.

    Raises:
        ConfigurationError: the tasks do not fit the settings, or have parameters that are not injected.
    """
    run(_serve(saqueduct, names, lifespans), new_event_loop)


def run_worker_processes(saqueduct: Saqueduct, processes: int, command: Sequence[str]) -> int:
    """Keep processes of workers running until SIGTERM or SIGINT; returns the exit status.

    Args:
        saqueduct: its grace period is the one that the processes get to stop.
        processes: how many.
        command: program and arguments of one process.
    """
    return supervise(processes, saqueduct.config.grace_period, EXIT_MISCONFIGURED, command)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(
    saqueduct: Saqueduct, names: Iterable[str] | None, lifespans: Sequence[AbstractAsyncContextManager[Any]]
) -> None:
    served = tuple(saqueduct.config.served_queues if names is None else names)
    # First: it handles signals from here on.
    process = ProcessLifetime(saqueduct.config.grace_period, saqueduct.config.concurrency * len(served))
    async with AsyncExitStack() as stack:
        workers = saqueduct.build_workers(served)
        await stack.enter_async_context(saqueduct)
        for lifespan in lifespans:
            await stack.enter_async_context(lifespan)
        stack.enter_context(saqueduct.serving_metrics())
        await stack.enter_async_context(saqueduct.watching())
        logger.info("worker started: queues %s", ", ".join(served))
        await process.run(workers)
    logger.info("worker stopped")
    sys.stdout.flush()
    # Jobs that are still in a thread have been released.
    process.exit()
