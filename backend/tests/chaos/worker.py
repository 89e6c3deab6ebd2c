"""The worker process of a chaos run: the application's worker with tasks that write down what they do.

The journal is a file that each process appends to, a line a write: nothing that is under test keeps it. Its times are
those of the machine's monotonic clock, which all processes share and libfaketime leaves alone.
"""

import asyncio
import json
import os
import time
from pathlib import Path

from app.queue import Context, Unique, get_registry, scheduled_task, task
from app.queue.meta import TICK
from app.worker import main

JOURNAL = "CHAOS_JOURNAL"
"""Environment variable: the journal's path."""

get_registry().clear()


def note(ctx: Context, what: str) -> None:
    """Write a line into the journal: what, job, attempt, process, time and tick, if a schedule made the job."""
    job = ctx["job"]
    line = json.dumps([what, job.key, job.attempts, os.getpid(), time.monotonic(), job.meta.get(TICK)])
    descriptor = os.open(Path(os.environ[JOURNAL]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


async def run(ctx: Context, seconds: float) -> None:
    note(ctx, "start")
    await asyncio.sleep(seconds)
    note(ctx, "end")


@task(ttl=0)
async def work(ctx: Context, *, seconds: float) -> float:
    """Takes its time."""
    await run(ctx, seconds)
    return seconds


@task(ttl=0, retries=9, retry_delay=0.2)
async def flaky(ctx: Context, *, seconds: float, failures: int) -> int:
    """Fails in its first attempts."""
    await run(ctx, seconds)
    if ctx["job"].attempts <= failures:
        raise ConnectionError("not yet")
    return failures


@task(ttl=0, unique=Unique(by=("number",)))
async def single(ctx: Context, *, number: int, seconds: float) -> int:
    """One at a time for a number."""
    note(ctx, f"single {number}")
    await run(ctx, seconds)
    note(ctx, f"single {number} over")
    return number


@scheduled_task(every=5.0, overlap="queue", ttl=0)
async def tick(ctx: Context) -> None:
    """Every five seconds: longer than Redis is ever away in a run, so that each tick is to be made."""
    await run(ctx, 0.0)


if __name__ == "__main__":
    main()
