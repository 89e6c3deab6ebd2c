"""Flow control: what limits cost a job, what lanes that wait cost a lease, and how long a flood delays others."""

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from benchmarks.contenders import SAQUEDUCT, figures_of
from benchmarks.machine import redis_of
from benchmarks.throughput import Progress, Size, empty
from saqueduct import Concurrency, EngineQueue, TaskRegistry
from saqueduct.queue.outcomes import Outcome
from saqueduct.tasks.job import EngineJob

SLOTS = 100

KEYS = 10_000
"""Values of the argument by which the limits go."""

KINDS = {
    "noop": "no limit",
    "limited": f"a concurrency limit, {KEYS:,} keys",
    "limited_twice": f"a rate and a concurrency limit, {KEYS:,} keys each, and fairness of {KEYS:,} keys",
}
"""Tasks of the script, and what they are called on the page."""

LEASED = 20
"""Jobs that one measured lease takes."""

LEASES = 200
"""Measured leases of each queue."""

TURN = 10
"""Leases that are measured of one queue before it is another's turn."""

LEASE = 3600.0
"""Seconds that these leases last: nobody renews them."""

TENANTS = 1_000

FLOOD = 100_000
"""Jobs of one tenant, before the only ones of the others."""


def flow(url: str, size: Size, progress: Progress, known: Mapping[str, Any]) -> dict[str, Any]:
    """Jobs a second by Redis and kind of limit, one figure a run; processor time of Redis by lanes and jobs that wait;
    jobs that start before the only one of a tenant, behind a flood of another.

    Args:
        url: of the Redis.
        size: of the measurement.
        progress: called with what is measured at the moment.
        known: figures measured before: jobs a second with another Redis stay.
    """
    rates: dict[str, list[float]] = {}
    for _ in range(size.runs):
        for kind, name in KINDS.items():
            progress(f"flow: {name}")
            empty(url)
            jobs = size.jobs * 3
            SAQUEDUCT.ask("fill", url, jobs, kind=kind, keys=KEYS)
            figures = figures_of(SAQUEDUCT.start("work", url, jobs, concurrency=SLOTS))
            rates.setdefault(name, []).append(figures["count"] / (figures["last"] - figures["first"]))
    progress("flow: lanes that wait")
    empty(url)
    parked = asyncio.run(_by_parked(url, ((0, 0), (1_000, 1_000), (1_000, max(size.jobs, 1_000) // 3 * 100))))
    progress("flow: a flood")
    empty(url)
    by_redis = {**known.get("rates", {}), redis_of(url): rates}
    return {"rates": by_redis, "parked": parked, "flood": asyncio.run(_behind_a_flood(url))}


class _Worker:
    """Leases and ends jobs, without a loop."""

    def __init__(self, queue: EngineQueue) -> None:
        self._queue = queue

    async def lease(self, most: int) -> list[EngineJob]:
        """Lease up to so many jobs, for longer than the benchmark takes."""
        _, _, _, lease, *leased = await self._queue.scripts.run("lease", most, "bench", LEASE)
        jobs = []
        for job_id, stored in zip(*leased, strict=True):
            job = self._queue.read(self._queue.job_key_from_id(job_id.decode()), stored)
            job.lease = lease.decode()
            jobs.append(job)
        return jobs

    async def end(self, jobs: Sequence[EngineJob]) -> None:
        """They are complete."""
        await self._queue.settler.settle([Outcome.finish(self._queue.core, job) for job in jobs])


async def _by_parked(url: str, cases: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Microseconds of Redis' processor time for a lease and the end of LEASED jobs with a limit, while so many other
    jobs of the queue wait in so many lanes for places that are taken, as lanes and jobs.

    Each case is a queue of one Redis, and they take turns: so they differ by what waits there, and by nothing that the
    server does or holds meanwhile, as the rewrite of its append-only file.
    """
    client = Redis.from_url(url)
    workers = [_Worker(await _parked(client, f"bench{number}", *case)) for number, case in enumerate(cases)]
    used = [0.0] * len(cases)
    for turn in range(LEASES // TURN):
        for number in range(len(cases)):
            # Each comes after each other one.
            place = (turn + number * (1 + turn % 2)) % len(cases)
            before = await _cpu(client)
            for _ in range(TURN):
                await workers[place].end(await workers[place].lease(LEASED))
            used[place] += await _cpu(client) - before
    await client.aclose()
    return {
        f"{lanes:,} lanes, {jobs:,} jobs": each / LEASES * 1e6 for (lanes, jobs), each in zip(cases, used, strict=True)
    }


async def _parked(client: Redis, name: str, lanes: int, jobs: int) -> EngineQueue:
    """A queue where jobs wait, and others can be leased."""
    tasks = TaskRegistry()

    @tasks.task(limits=(Concurrency(1, by="n"),))
    async def held(ctx: Any, *, n: int) -> None: ...

    @tasks.task(limits=(Concurrency(1, by="n"),))
    async def free(ctx: Any, *, n: int) -> None: ...

    queue = EngineQueue(client, name, tasks=tasks)
    worker = _Worker(queue)
    # One runs and the others wait.
    for first in range(0, lanes + jobs, 10_000):
        await queue.enqueue_many([held.job({"n": n % lanes}) for n in range(first, min(first + 10_000, lanes + jobs))])
    while await worker.lease(500):
        pass
    # Of turns that warm up, too.
    await queue.enqueue_many([free.job({"n": n}) for n in range(LEASED * (LEASES + TURN))])
    for _ in range(TURN):
        await worker.end(await worker.lease(LEASED))
    return queue


async def _behind_a_flood(url: str) -> dict[str, float]:
    """Jobs that start before the only one of each other tenant."""
    tasks = TaskRegistry()

    @tasks.task(fair="tenant")
    async def sync(ctx: Any, *, tenant: int) -> None: ...

    queue = EngineQueue(Redis.from_url(url), "bench", tasks=tasks)
    worker = _Worker(queue)
    for _ in range(0, FLOOD, 10_000):
        await queue.enqueue_many([sync.job({"tenant": 0}) for _ in range(10_000)])
    await queue.enqueue_many([sync.job({"tenant": n}) for n in range(1, TENANTS)])
    waits: list[int] = []
    started = 0
    while len(waits) < TENANTS - 1:
        jobs = await worker.lease(10)
        for number, job in enumerate(jobs, started):
            if job.kwargs and job.kwargs["tenant"]:
                waits.append(number)
        started += len(jobs)
        await worker.end(jobs)
    await queue.disconnect()
    return {"median": statistics.median(waits), "longest": max(waits)}


async def _cpu(client: Redis) -> float:
    info = await client.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])
