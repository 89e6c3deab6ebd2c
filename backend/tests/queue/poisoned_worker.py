"""A worker process of four slots, among whose jobs is one that kills it; its leases are short."""

import asyncio
import os
import sys

from saqueduct import Context, EngineQueue
from saqueduct.broker.connections import Connections
from saqueduct.queue import recovery
from saqueduct.worker import job_runner, leases, leasing
from saqueduct.worker.worker import EngineWorker


async def kill(ctx: Context) -> None:
    """Ends the process once others have begun beside it."""
    await asyncio.sleep(0.1)
    os._exit(9)


async def innocent(ctx: Context) -> None:
    """Runs for longer than its process lives, if another kills it."""
    await asyncio.sleep(0.3)


def _hurry() -> None:
    for module, timings in {
        leasing: {"LEASE": 1.0},
        leases: {"LEASE": 1.0, "RENEWAL": 0.2},
        recovery: {"RENEWAL": 0.2},
        job_runner: {"LOOK": 0.1},
    }.items():
        vars(module).update(timings)


async def _work(url: str) -> None:
    queues = [EngineQueue(Connections(url).client(name), name) for name in ("default", "other")]
    await asyncio.gather(*(EngineWorker(queue, [kill, innocent], concurrency=4).start() for queue in queues))


if __name__ == "__main__":
    _hurry()
    asyncio.run(_work(sys.argv[1]))
