"""Handles: many jobs enqueued at once, many waiting at once."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from rich.table import Table
from saq.queue.redis import RedisQueue

from app.queue import Context, EngineQueue, Queues, enqueue_many, get_registry, task
from app.queue.engine.worker import EngineWorker

MANY = 10_000
WAITERS = 1_000


async def measure(url: str, runs: int, waits: int) -> Table:
    """Measure on the Redis at `url`, which is emptied, and return the figures."""
    table = Table("measurement", "median", "worst", "ratio to stock SAQ")
    with get_registry().isolated():

        @task
        async def noop(ctx: Context, *, n: int) -> int:
            return n

        async with _queues(url) as queues:
            stock, many = [], []
            for _ in range(runs):
                stock.append(await _stock_enqueue(url))
                many.append(await _enqueue_many(queues))
            ratios = sorted(old / new for old, new in zip(stock, many, strict=True))
            table.add_row(f"stock SAQ: {MANY:,} enqueues gathered", *_seconds(stock), "1")
            table.add_row(f"enqueue_many of {MANY:,}", *_seconds(many), f"{statistics.median(ratios):.1f} x faster")
            waited = [await _wait(queues) for _ in range(waits)]
            table.add_row(f"{WAITERS:,} waiters, {waits} times, none missed its end", *_seconds(waited), "")
    return table


def _seconds(measured: list[float]) -> tuple[str, str]:
    return f"{statistics.median(measured):.3f} s", f"{max(measured):.3f} s"


@asynccontextmanager
async def _queues(url: str) -> AsyncIterator[Queues]:
    queues = Queues({"default": EngineQueue(Redis.from_url(url), tasks=get_registry())}, get_registry())
    await queues.connect()
    try:
        yield queues
    finally:
        await queues.disconnect()


async def _stock_enqueue(url: str) -> float:
    queue = RedisQueue(Redis.from_url(url), "stock")
    await queue.redis.flushall()
    began = time.perf_counter()
    await asyncio.gather(*(queue.enqueue("noop", n=n) for n in range(MANY)))
    took = time.perf_counter() - began
    await queue.disconnect()
    return took


async def _enqueue_many(queues: Queues) -> float:
    await queues.get("default").redis.flushall()
    noop = get_registry().get("noop")
    began = time.perf_counter()
    await enqueue_many(noop.bind(n=n) for n in range(MANY))
    return time.perf_counter() - began


async def _wait(queues: Queues) -> float:
    """A worker runs the jobs while all wait; a missed end would wait until the time limit."""
    queue = queues.get("default")
    await queue.redis.flushall()
    worker = EngineWorker(queue, [each.runner for each in get_registry().get_all_tasks()], concurrency=100)
    running = asyncio.create_task(worker.start())
    noop = get_registry().get("noop")
    began = time.perf_counter()
    handles = await enqueue_many(noop.bind(n=n) for n in range(WAITERS))
    results = await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
    took = time.perf_counter() - began
    if results != list(range(WAITERS)):
        raise AssertionError("a result went to another waiter")
    worker.request_stop()
    await running
    return took
