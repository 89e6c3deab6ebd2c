"""The tasks of a chaos run. Their bodies note in the journal what they do.

Importing this module registers nothing: `install` does.
"""

import asyncio
import time
from contextlib import suppress

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import (
    INJECTED,
    Concurrency,
    Context,
    QueueUnavailable,
    Rate,
    Unique,
    get_registry,
    limit,
    scheduled_task,
    task,
)
from saqueduct.tasks.job import EngineJob, holder
from saqueduct.tasks.task import Task
from tests.chaos.journal import note

VERSION = "CHAOS_VERSION"
"""Environment variable: the version of the code that a worker runs; version N knows the features 1 to N."""

VERSIONS = 30
"""Versions that there are, and so deploys that a run can have."""

TICK = 5.0
"""Seconds between two ticks of a schedule: longer than a restart or a pause of Redis in a run."""

CULPRIT_TIMEOUT = 2
INNOCENT_TIMEOUT = 4
"""Seconds. A worker whose event loop is blocked for INNOCENT_TIMEOUT and 5 more is taken for hung."""

TOGETHER = 2
"""Jobs of the task `limited`, and parts of jobs of the task `partly`, that may run at once, for each number."""

SHARED = Concurrency(TOGETHER, by="number", name="shared")

PACE = Rate("pace", 15, per=1.0, burst=3)
"""Of the task `paced`."""

WRITE = text("INSERT INTO runs VALUES (:number)")


async def run(ctx: Context, seconds: float) -> None:
    note(ctx, "start")
    await asyncio.sleep(seconds)
    note(ctx, "end")


with get_registry().isolated() as _registry:

    @task(ttl=0, timeout=INNOCENT_TIMEOUT)
    async def work(ctx: Context, *, seconds: float) -> float:
        """Takes its time."""
        await run(ctx, seconds)
        return seconds

    @task(ttl=0, timeout=INNOCENT_TIMEOUT)
    def thread_work(ctx: Context, *, seconds: float) -> float:
        """Takes its time in a thread."""
        note(ctx, "start")
        time.sleep(seconds)
        note(ctx, "end")
        return seconds

    @task(ttl=0, retries=9, retry_delay=0.2)
    async def flaky(ctx: Context, *, seconds: float, failures: int) -> int:
        """Fails in its first attempts."""
        await run(ctx, seconds)
        if ctx["job"].attempts <= failures:
            raise ConnectionError("not yet")
        return failures

    @task(ttl=0, timeout=INNOCENT_TIMEOUT, unique=Unique(by=("number",)))
    async def single(ctx: Context, *, number: int, seconds: float) -> int:
        """One at a time for each number."""
        note(ctx, f"single {number}")
        await run(ctx, seconds)
        note(ctx, f"single {number} over")
        return number

    @task(ttl=0, timeout=INNOCENT_TIMEOUT, limits=(SHARED,))
    async def limited(ctx: Context, *, number: int, seconds: float) -> int:
        """TOGETHER at a time for each number."""
        note(ctx, f"limited {number}")
        try:
            await run(ctx, seconds)
        finally:
            note(ctx, f"limited {number} over")
        return number

    @task(ttl=0, timeout=60, takes=(SHARED,))
    async def partly(ctx: Context, *, number: int, seconds: float) -> int:
        """Has the limit of `limited` for a part of its run."""
        note(ctx, "start")
        entered = False
        while not entered:
            # Redis may be away for longer than a call waits.
            with suppress(QueueUnavailable):
                async with limit("shared", number=number).take():
                    entered = True
                    note(ctx, f"limited {number}")
                    try:
                        await asyncio.sleep(seconds)
                    finally:
                        note(ctx, f"limited {number} over")
        await asyncio.sleep(seconds)
        note(ctx, "end")
        return number

    @task(ttl=0, timeout=INNOCENT_TIMEOUT, limits=(PACE,))
    async def paced(ctx: Context, *, seconds: float) -> float:
        """Starts at a rate, by the clock of Redis, whose time is in the lease."""
        job = ctx["job"]
        assert isinstance(job, EngineJob)
        note(ctx, f"paced {holder(job.lease)[1]}")
        await run(ctx, seconds)
        return seconds

    @task(ttl=0, timeout=INNOCENT_TIMEOUT, at_most_once=True)
    async def once(ctx: Context, *, seconds: float) -> float:
        """Must never run twice."""
        await run(ctx, seconds)
        return seconds

    @task(ttl=0, retries=2)
    async def doomed(ctx: Context, *, seconds: float) -> None:
        """Fails for good: a dead letter."""
        await run(ctx, seconds)
        raise ValueError("never")

    @task(ttl=0, timeout=30)
    async def entry(ctx: Context, *, number: int, db_session: AsyncSession = INJECTED) -> int:
        """Writes that it ran, with its injected session."""
        note(ctx, "start")
        await db_session.execute(WRITE, {"number": number})
        return number

    @task(ttl=-1, durable=True)
    async def durable(ctx: Context, *, seconds: float) -> float:
        """Durable, and forgotten by Redis as soon as it has ended."""
        await run(ctx, seconds)
        return seconds

    @task(ttl=0, timeout=30, durable=True)
    async def durable_entry(ctx: Context, *, number: int, db_session: AsyncSession = INJECTED) -> int:
        """Durable, and writes that it ran, with its injected session."""
        note(ctx, "start")
        await db_session.execute(WRITE, {"number": number})
        return number

    @task(ttl=0, retries=2, durable=True)
    async def durable_doomed(ctx: Context, *, seconds: float) -> None:
        """Durable, and fails for good."""
        await run(ctx, seconds)
        raise ValueError("never")

    @task(ttl=0, timeout=CULPRIT_TIMEOUT)
    async def block_loop(ctx: Context, *, seconds: float) -> None:
        """A culprit: lets nothing else run on its worker's event loop, past its timeout."""
        note(ctx, "start")
        time.sleep(seconds)  # noqa: ASYNC251  (that is the fault)
        note(ctx, "end")

    @task(ttl=0, timeout=CULPRIT_TIMEOUT)
    def hang_thread(ctx: Context, *, seconds: float) -> None:
        """A culprit: returns long after its timeout, and cannot be cancelled."""
        note(ctx, "start")
        time.sleep(seconds)
        note(ctx, "end")

    @task(ttl=0, timeout=CULPRIT_TIMEOUT)
    async def swallow_cancellation(ctx: Context) -> None:
        """A culprit: never returns either, however often it is cancelled."""
        note(ctx, "start")
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    @scheduled_task(every=TICK, overlap="queue", ttl=0)
    async def tick(ctx: Context) -> None:
        """Runs every TICK seconds."""
        await run(ctx, 0.0)

    TASKS = _registry.get_all_tasks()

CULPRITS = frozenset({block_loop.name, hang_thread.name, swallow_cancellation.name})
DOOMED = frozenset({doomed.name, durable_doomed.name})
WITH_SESSION = frozenset({entry.name, durable_entry.name})


def feature(version: int) -> Task[..., int]:
    """A task which workers know from that version on; it has a schedule too."""
    with get_registry().isolated():

        @scheduled_task(every=TICK, overlap="queue", kwargs={"seconds": 0.0}, name=f"feature_{version}", ttl=0)
        async def feature(ctx: Context, *, seconds: float) -> int:
            await run(ctx, seconds)
            return version

    return feature


FEATURES = {version: feature(version) for version in range(1, VERSIONS + 1)}


def install(version: int = VERSIONS) -> None:
    """Let this process know these tasks and no others: those of all versions, and the features up to this one."""
    registry = get_registry()
    registry.clear()
    for each in (*TASKS, *(FEATURES[known] for known in range(1, version + 1))):
        registry.add(each)
