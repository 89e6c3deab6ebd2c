"""The faults: what begins, how long it lasts, and how it ends.

Each is an async generator: what precedes its `yield` begins the fault, what follows it ends it.
"""

import asyncio
import dataclasses
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Literal

import psutil
from sqlalchemy import text

from tests.chaos.producer import INSTANTS
from tests.chaos.stage import Stage
from tests.fixtures import python
from tests.processes.stack import BACKEND

Lane = Literal["workers", "redis", "postgres", "jobs", "producers"]
"""Whom a fault hits. Faults of one lane never overlap."""

Begin = Callable[[Stage], AsyncIterator[None]]

SLOW = 0.05
"""Seconds that a slow network takes each way, and up to as much again."""

PAST_THE_LEASE = (9.0, 13.0)
BLOCKED = 13.0
"""Seconds that a job blocks the event loop: past its own timeout, and so long that the worker is taken for hung."""

HUNG = 20.0
FOR_EVER = 86_400.0
"""Seconds for which a thread hangs."""

APART = 1000
"""Numbers that each transacting producer has to itself."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """A fault.

    Attributes:
        name: as plans and the command line call it.
        lane: whom it hits.
        lasts: seconds, at least and at most; (0, 0): it is over when it has begun.
        loses: True when Redis loses what it knows: only durable jobs are promised to survive that, and they may run
            again.
        begin: of the run's stage; the block is the fault.
        doc: a sentence about it.
    """

    name: str
    lane: Lane
    lasts: tuple[float, float]
    loses: bool
    begin: Callable[[Stage], AbstractAsyncContextManager[None]]
    doc: str


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """A fault that came. Times in seconds of the monotonic clock; `epoch`: when it began, by the wall clock."""

    fault: Fault
    begun: float
    ended: float
    epoch: float

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.begun


FAULTS: dict[str, Fault] = {}


def fault(lane: Lane, lasts: tuple[float, float] = (0.0, 0.0), *, loses: bool = False) -> Callable[[Begin], Begin]:
    """Register a fault; its name is the function's, with spaces."""

    def register(function: Begin) -> Begin:
        name = function.__name__.replace("_", " ")
        FAULTS[name] = Fault(name, lane, lasts, loses, asynccontextmanager(function), function.__doc__ or "")
        return function

    return register


async def inflict(stage: Stage, fault: Fault) -> Window:
    """Let a fault come, last, and end."""
    begun, epoch = time.monotonic(), time.time()
    async with fault.begin(stage):
        await asyncio.sleep(stage.chance.uniform(*fault.lasts))
    return Window(fault, begun, time.monotonic(), epoch)


@fault("workers")
async def kill(stage: Stage) -> AsyncIterator[None]:
    """SIGKILL a worker."""
    await asyncio.to_thread(stage.fleet.kill)
    yield


@fault("workers")
async def terminate(stage: Stage) -> AsyncIterator[None]:
    """SIGTERM a worker."""
    await asyncio.to_thread(stage.fleet.terminate)
    yield


@fault("workers")
async def pause_worker(stage: Stage) -> AsyncIterator[None]:
    """SIGSTOP a worker past its leases."""
    await asyncio.to_thread(stage.fleet.pause, stage.chance.uniform(*PAST_THE_LEASE))
    yield


@fault("workers", (2.0, 5.0))
async def deploy(stage: Stage) -> AsyncIterator[None]:
    """Replace the workers by ones of the next version, one after the other; producers use it at once."""
    await asyncio.to_thread(stage.fleet.begin_deploy)
    yield
    await asyncio.to_thread(stage.fleet.end_deploy)


@fault("redis")
async def restart_redis(stage: Stage) -> AsyncIterator[None]:
    """Stop Redis orderly, and start it."""
    await asyncio.to_thread(stage.redis.stop)
    yield
    await asyncio.to_thread(stage.redis.start)


@fault("redis", (1.0, 3.0))
async def pause_redis(stage: Stage) -> AsyncIterator[None]:
    """SIGSTOP Redis."""
    with stopped(stage.redis_process()):
        yield


@fault("redis")
async def cut_redis(stage: Stage) -> AsyncIterator[None]:
    """Cut all connections to Redis."""
    stage.to_redis.cut()
    yield


@fault("redis", (2.0, 5.0))
async def slow_redis(stage: Stage) -> AsyncIterator[None]:
    """Every packet to and from Redis takes SLOW."""
    stage.to_redis.delay = SLOW
    yield
    stage.to_redis.delay = 0.0


@fault("redis", (9.0, 12.0))
async def silence_redis(stage: Stage) -> AsyncIterator[None]:
    """Nothing passes to and from Redis, for longer than leases last."""
    stage.to_redis.silent = True
    yield
    stage.to_redis.silent = False


@fault("redis", (11.0, 15.0))
async def fill_redis(stage: Stage) -> AsyncIterator[None]:
    """Redis is out of memory, for longer than leases last."""
    async with stage.client() as client:
        await client.config_set("maxmemory", 1)
        yield
        await client.config_set("maxmemory", 0)


@fault("redis", loses=True)
async def flush_redis(stage: Stage) -> AsyncIterator[None]:
    """Redis loses everything, at once."""
    async with stage.client() as client:
        await client.flushall()
    yield


@fault("redis", loses=True)
async def wipe_redis(stage: Stage) -> AsyncIterator[None]:
    """Kill Redis, and start it without its files."""
    await asyncio.to_thread(_lose_redis, stage)
    yield
    await asyncio.to_thread(stage.redis.start)


@fault("postgres")
async def restart_postgres(stage: Stage) -> AsyncIterator[None]:
    """Stop PostgreSQL, whose connections all end, and start it."""
    await asyncio.to_thread(stage.postgres.stop)
    yield
    await asyncio.to_thread(stage.postgres.start)


@fault("postgres", (3.0, 8.0))
async def pause_postgres(stage: Stage) -> AsyncIterator[None]:
    """SIGSTOP all of PostgreSQL."""
    with stopped(*stage.postgres_processes()):
        yield


@fault("postgres")
async def cut_postgres(stage: Stage) -> AsyncIterator[None]:
    """Cut all connections to PostgreSQL, also those with a statement in progress."""
    stage.to_postgres.cut()
    yield


@fault("postgres", (3.0, 6.0))
async def slow_postgres(stage: Stage) -> AsyncIterator[None]:
    """Every packet to and from PostgreSQL takes SLOW."""
    stage.to_postgres.delay = SLOW
    yield
    stage.to_postgres.delay = 0.0


@fault("postgres", (3.0, 10.0))
async def silence_postgres(stage: Stage) -> AsyncIterator[None]:
    """Nothing passes to and from PostgreSQL."""
    stage.to_postgres.silent = True
    yield
    stage.to_postgres.silent = False


@fault("postgres", (4.0, 12.0))
async def lock_records(stage: Stage) -> AsyncIterator[None]:
    """Lock the table of job records, as a migration does."""
    async with stage.engine.begin() as connection:
        # A worker that another fault has suspended may be in the middle of writing.
        await connection.execute(text("SET LOCAL lock_timeout = 0"))
        await connection.execute(text("LOCK TABLE job_records IN ACCESS EXCLUSIVE MODE"))
        yield


@fault("jobs", (BLOCKED, BLOCKED + 1))
async def block_loop(stage: Stage) -> AsyncIterator[None]:
    """A job blocks a worker's event loop, past its timeout."""
    await stage.workload.culprit("block_loop", seconds=BLOCKED)
    yield


@fault("jobs", (1.0, 3.0))
async def hang_threads(stage: Stage) -> AsyncIterator[None]:
    """Jobs of `def` functions return long after their timeout, or never."""
    for seconds in (HUNG, FOR_EVER) * 2:
        await stage.workload.culprit("hang_thread", seconds=seconds)
    yield


@fault("jobs", (1.0, 3.0))
async def swallow_cancellations(stage: Stage) -> AsyncIterator[None]:
    """Jobs of `async def` functions swallow every cancellation."""
    for _ in range(4):
        await stage.workload.culprit("swallow_cancellation")
    yield


@fault("producers")
async def kill_producer(stage: Stage) -> AsyncIterator[None]:
    """A producer dies around its commit."""
    instant = INSTANTS[stage.first // APART % len(INSTANTS)]
    arguments = ("-m", "tests.chaos.producer", str(stage.first), instant)
    stage.first += APART
    environment = {"PATH": os.environ["PATH"], **stage.environment}
    producer = await asyncio.to_thread(python.run, arguments, cwd=BACKEND, env=environment)
    if producer.returncode != -signal.SIGKILL:
        # As it may while PostgreSQL is away too.
        stage.producers_failed.append(producer.stderr.strip().rpartition("\n")[2])
    yield


@contextmanager
def stopped(*processes: psutil.Process) -> Iterator[None]:
    """Suspend processes for a block."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def _lose_redis(stage: Stage) -> None:
    process = stage.redis_process()
    process.kill()
    process.wait()
    for left in (*stage.redis.directory.glob("*aof*"), *stage.redis.directory.glob("*.rdb")):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
