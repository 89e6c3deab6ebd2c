"""What tests of the queue use again and again: a worker for a block, what became of a job, tasks that leave a mark."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dishka import AsyncContainer
from redis.asyncio import Redis
from saq import Job
from saq.job import Status
from saq.queue.redis import RedisQueue
from saq.types import Context as StockContext
from saq.worker import Worker

from app.settings import Settings
from saqueduct import Connections, Context, EngineQueue, Queues, Task, task
from saqueduct.litestar.routes.listeners import Bound
from saqueduct.queue import recovery
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.composition import build_workers
from tests.fixtures.poll import eventually


@asynccontextmanager
async def working(
    settings: Settings, queues: Queues, container: AsyncContainer, *, schedules: bool = True
) -> AsyncIterator[EngineWorker]:
    """A worker of the default queue, stopped at the end of the block; without its schedules if they are in the way."""
    [worker] = build_workers(settings, queues, container)
    if not schedules:
        worker.scheduled = None
    running = asyncio.create_task(worker.start())
    try:
        yield worker
    finally:
        worker.request_stop()
        await running


@asynccontextmanager
async def stock_worker(queue: RedisQueue, *tasks: Task[..., Any]) -> AsyncIterator[None]:
    """SAQ's own worker. Its first sweep comes before it takes a job: it aborts what is taken and not yet marked."""
    await queue.sweep()
    worker: Worker[StockContext] = Worker(
        queue, [(each.name, each.runner) for each in tasks], concurrency=5, dequeue_timeout=0.2
    )
    running = asyncio.create_task(worker.start())
    try:
        yield
    finally:
        worker.event.set()
        await running


@asynccontextmanager
async def silent_redis(directory: Path) -> AsyncIterator[Redis]:
    """A client of a server that accepts connections and never answers; redis-py itself would wait for ten minutes."""
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_unix_server(silent, directory / "s")
    redis = Connections(f"unix://{directory}/s?socket_timeout=600").client("default")
    try:
        yield redis
    finally:
        ended.set()
        await redis.aclose()
        server.close()


def waiting_task() -> tuple[Any, asyncio.Event]:
    """A task that waits until it is cancelled; and whether its job has started."""
    started = asyncio.Event()

    @task(timeout=60)
    async def waits(ctx: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    return waits, started


@contextmanager
def filled(bound: Bound) -> Iterator[None]:
    """There is no room left."""
    while bound.enter():
        pass
    try:
        yield
    finally:
        for _ in range(bound.most):
            bound.leave()


async def status(queues: Queues, job: Job, wanted: Status) -> Job:
    """The job once it has that status."""

    async def look() -> Job | None:
        found = await queues.find(job.key)
        return found if found.status is wanted else None

    return await eventually(look)


def marking(runs: list[str]) -> Any:
    """A task that notes the names it is called with."""

    @task
    async def mark(ctx: Context, *, name: str) -> None:
        runs.append(name)

    return mark


class RecoveryClock:
    """Replaces the clock by which expired leases wait for their recovery; only `advance` moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(recovery, "time", SimpleNamespace(monotonic=lambda: self.now))

    def advance(self, seconds: float) -> None:
        self.now += seconds


async def taken(queues: Queues, count: int) -> list[str]:
    """The names that a worker would run, in the order of the leases."""
    queue = queues.get("default")
    names = []
    for _ in range(count):
        answer = await queue.scripts.run("lease", 1, "somebody", 60)
        job = queue.deserialize(answer[5][0])
        assert job is not None
        names.append((job.kwargs or {})["name"])
    return names


async def is_empty(queue: EngineQueue) -> bool:
    """True when the queue has no job that waits or runs."""
    return not await queue.count("incomplete") and not await queue.redis.zcard(queue.namespace("leases"))


@asynccontextmanager
async def one_slot(queue: EngineQueue, *functions: Any) -> AsyncIterator[None]:
    """A worker that runs one job at a time."""
    worker = EngineWorker(queue, functions, concurrency=1, shutdown_grace_period_s=0)
    running = asyncio.create_task(worker.start())
    try:
        yield
    finally:
        worker.request_stop()
        await running
