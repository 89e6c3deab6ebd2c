"""A worker process of four slots, among whose jobs is one that kills it; its leases are short."""

import asyncio
import os
import sys

from saqueduct import Context, EngineQueue
from saqueduct.broker.connections import Connections
from saqueduct.timings import Timings
from saqueduct.worker.worker import EngineWorker


async def kill(ctx: Context) -> None:
    """Ends the process once others have begun beside it."""
    await asyncio.sleep(0.1)
    os._exit(9)


async def innocent(ctx: Context) -> None:
    """Runs for longer than its process lives, if another kills it."""
    await asyncio.sleep(0.3)


TIMINGS = Timings(lease=1.0, renewal=0.2, recovery_wait=0.2, recovery_look=0.1)


async def _work(url: str) -> None:
    queues = [EngineQueue(Connections(url).client(name), name, timings=TIMINGS) for name in ("default", "other")]
    await asyncio.gather(*(EngineWorker(queue, [kill, innocent], concurrency=4).start() for queue in queues))


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1]))
