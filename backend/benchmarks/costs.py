"""What one call costs, by how many jobs wait and how many run; memory a job; what idle workers cost."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, cast

import psutil
import redis
from redis.asyncio import Redis
from saq.job import Job, Status
from saq.queue.redis import RedisQueue

from benchmarks.contenders import SAQUEDUCT, STOCK, Contender
from saqueduct import EngineQueue
from saqueduct.queue.outcomes import Outcome
from saqueduct.tasks.job import EngineJob

CALLS = 40
"""Calls of each kind; their median counts."""

HELD = 3600.0
"""Seconds that leases last here: nobody renews them."""

Call = Callable[[], Awaitable[Any]]
Figures = dict[str, dict[str, dict[str, float]]]
"""Microseconds by number of jobs, contender and call."""


async def by_backlog(url: str, sizes: tuple[int, ...]) -> Figures:
    """Microseconds a call while so many jobs wait."""
    figures: Figures = {}
    for size in sizes:
        queue, stock = await _queues(url)
        await _fill(queue, size)
        figures[f"{size:,}"] = {"Saqueduct": await _engine(queue), "SAQ": await _stock(stock)}
        await _close(queue, stock)
    return figures


async def by_active(url: str, sizes: tuple[int, ...]) -> Figures:
    """Microseconds a call while so many jobs run: leased for the engine, in SAQ's list for SAQ."""
    figures: Figures = {}
    for size in sizes:
        queue, stock = await _queues(url)
        await _fill(queue, size)
        for _ in range(0, size, 500):
            await queue.scripts.run("lease", 500, "elsewhere", HELD)
        engine = await _engine(queue)
        await queue.redis.flushall()
        await _fill(queue, size)
        for _ in range(size):
            await stock.dequeue(1)
        figures[f"{size:,}"] = {"Saqueduct": engine, "SAQ": await _stock(stock)}
        await _close(queue, stock)
    return figures


async def memory_a_job(url: str, jobs: int) -> dict[str, float]:
    """Bytes that a queued job takes in Redis."""
    figures = {}
    queue, stock = await _queues(url)
    for name, target in (("Saqueduct", queue), ("SAQ", stock)):
        await queue.redis.flushall()
        before = (await queue.redis.info("memory"))["used_memory"]
        for _ in range(0, jobs, 500):
            await asyncio.gather(*(target.enqueue("noop", n=1) for _ in range(500)))
        figures[name] = round(((await queue.redis.info("memory"))["used_memory"] - before) / jobs)
    await _close(queue, stock)
    return figures


def idle(url: str, workers: int, schedules: int, seconds: float) -> dict[str, dict[str, float]]:
    """Redis commands a second and percent of a core that an idle worker takes."""
    return {each.label: _idle(each, url, workers, schedules, seconds) for each in (SAQUEDUCT, STOCK)}


def _idle(contender: Contender, url: str, workers: int, schedules: int, seconds: float) -> dict[str, float]:
    with redis.Redis.from_url(url) as client, ExitStack() as stack:
        client.flushall()
        started = [
            stack.enter_context(contender.serving(url, schedules=schedules, concurrency=32)) for _ in range(workers)
        ]
        processes = [psutil.Process(each.pid) for each in started]
        # Until all have started and settled.
        time.sleep(10 + workers)
        used = [_cpu(process) for process in processes]
        commands = _commands(client, seconds)
        cpu = sum(_cpu(process) for process in processes) - sum(used)
    return {
        "commands a second": round(commands / seconds / workers, 2),
        "percent of a core": round(cpu / seconds / workers * 100, 2),
    }


def memory_of_a_worker(url: str, steps: int, jobs: int) -> list[tuple[int, float]]:
    """Jobs that one worker has run, and its resident memory in MiB then."""
    figures = []
    with redis.Redis.from_url(url) as client, SAQUEDUCT.serving(url, concurrency=100) as worker:
        client.flushall()
        process = psutil.Process(worker.pid)
        for step in range(1, steps + 1):
            SAQUEDUCT.ask("fill", url, jobs, kind="noop", ttl=-1)
            while client.zcard("saq:default:incomplete"):
                time.sleep(0.1)
            figures.append((step * jobs, round(process.memory_info().rss / 2**20, 1)))
    return figures


async def _queues(url: str) -> tuple[EngineQueue, RedisQueue]:
    queue, stock = EngineQueue(Redis.from_url(url), "bench"), RedisQueue(Redis.from_url(url), name="bench")
    await queue.redis.flushall()
    return queue, stock


async def _close(*queues: RedisQueue) -> None:
    for queue in queues:
        await queue.disconnect()


async def _fill(queue: EngineQueue, count: int) -> None:
    for first in range(0, count, 10_000):
        await queue.enqueue_many([EngineJob(function="noop") for _ in range(min(10_000, count - first))])


async def _engine(queue: EngineQueue) -> dict[str, float]:
    async def lease() -> None:
        await queue.scripts.run("lease", 1, "here", queue.core.timings.lease)

    async def leased() -> EngineJob:
        *_, lease, job_id, _ = await queue.scripts.run("lease", 1, "here", HELD)
        job = await queue.job(queue.job_key_from_id(job_id.decode()))
        if job is None:
            raise RuntimeError("the job is gone")
        job.lease = lease.decode()
        return job

    async def finish(job: EngineJob) -> None:
        await queue.settler.settle([Outcome.finish(queue.core, job)])

    async def retry(job: EngineJob) -> None:
        await queue.settler.settle([Outcome.retry(queue.core, job, 0)])

    spare = [await queue.enqueue("noop", n=1) for _ in range(4 * CALLS)]
    figures = await _common(queue, [job for job in spare[:CALLS] if job])
    figures["lease"] = await _median([lease] * CALLS)
    jobs = [await leased() for _ in range(CALLS)]
    for job in jobs:
        job.status = Status.COMPLETE
    figures["finish"] = await _median([partial(finish, job) for job in jobs])
    jobs = [await leased() for _ in range(CALLS)]
    figures["retry"] = await _median([partial(retry, job) for job in jobs])
    return figures


async def _stock(queue: RedisQueue) -> dict[str, float]:
    spare = [await queue.enqueue("noop", n=1) for _ in range(4 * CALLS)]
    figures = await _common(queue, [job for job in spare[:CALLS] if job])
    figures["lease"] = await _median([lambda: queue.dequeue(1)] * CALLS)
    jobs = [job for job in [await queue.dequeue(1) for _ in range(CALLS)] if job]
    figures["finish"] = await _median([lambda j=job: j.finish(Status.COMPLETE) for job in jobs])  # type: ignore[misc]
    jobs = [job for job in [await queue.dequeue(1) for _ in range(CALLS)] if job]
    figures["retry"] = await _median([lambda j=job: j.retry("again") for job in jobs])  # type: ignore[misc]
    return figures


async def _common(queue: RedisQueue, waiting: list[Job]) -> dict[str, float]:
    return {
        "enqueue": await _median([lambda: queue.enqueue("noop", n=1)] * CALLS),
        "abort": await _median([lambda j=job: j.abort("not wanted") for job in waiting]),  # type: ignore[misc]
        "count": await _median([lambda: queue.count("queued")] * CALLS),
        "info": await _median([queue.info] * CALLS),
    }


async def _median(calls: list[Call]) -> float:
    took = []
    for call in calls:
        began = time.perf_counter()
        await call()
        took.append(time.perf_counter() - began)
    return round(statistics.median(took) * 1e6)


def _commands(client: redis.Redis, seconds: float) -> int:
    """Commands that clients send within so many seconds; those inside of scripts are no round trips."""
    end, count = time.monotonic() + seconds, 0
    with cast("Any", client).monitor() as monitor:
        while time.monotonic() < end:
            count += monitor.next_command()["client_type"] != "lua"
    return count


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
