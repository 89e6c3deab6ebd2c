"""Stock SAQ producers and workers on the same queue as the engine's, at the same time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from dishka import AsyncContainer
from saq.job import Status
from saq.queue.redis import RedisQueue
from saq.utils import now

from app.settings import Settings
from saqueduct import Context, Queues, enqueue_many, task
from tests.fixtures.poll import eventually
from tests.queue.kit import marking, stock_worker, working

JOBS = 300

pytestmark = pytest.mark.usefixtures("only_own_tasks")


@asynccontextmanager
async def sweeping(
    settings: Settings, queues: Queues, container: AsyncContainer, stock: RedisQueue
) -> AsyncIterator[None]:
    """An engine worker that sweeps in place of stock workers, which could abort what one of them has just taken."""
    async with working(settings, queues, container):
        await eventually(lambda: stock.redis.get(stock.namespace("sweep")))
        yield


@pytest.mark.timings(second_look=60.0)
async def test_both_kinds_share_the_work_and_lose_none(
    settings: Settings, queues: Queues, container: AsyncContainer, stock: RedisQueue
) -> None:
    runs: Counter[int] = Counter()
    kinds: set[type] = set()

    @task(retries=2)
    async def work(ctx: Context, *, n: int) -> int:
        runs[n] += 1
        kinds.add(type(ctx["worker"]))
        if n % 10 == 0 and ctx["job"].attempts == 1:
            raise ValueError("at the first attempt")
        await asyncio.sleep(0.001)
        return n

    async with sweeping(settings, queues, container, stock), stock_worker(stock, work):
        handles = await enqueue_many(work.bind(n=n) for n in range(JOBS))
        jobs = [await stock.enqueue("work", n=n, retries=2) for n in range(JOBS, 2 * JOBS)]
        results = await asyncio.gather(*(handle.result(timeout=60) for handle in handles))
        await eventually(lambda: _is_empty(queues))
    assert results == list(range(JOBS))
    ended = [await stock.job(job.key) for job in jobs if job]
    assert [job.result for job in ended if job and job.status is Status.COMPLETE] == list(range(JOBS, 2 * JOBS))
    assert runs == {n: 2 if n % 10 == 0 else 1 for n in range(2 * JOBS)}
    assert len(kinds) == 2


async def test_each_kind_aborts_what_the_other_runs(
    settings: Settings, queues: Queues, container: AsyncContainer, stock: RedisQueue
) -> None:
    started = asyncio.Event()

    @task(timeout=60)
    async def endless(ctx: Context) -> int:
        started.set()
        await asyncio.Event().wait()
        return 1

    async with working(settings, queues, container):
        of_the_engine = await endless.enqueue()
        await started.wait()
        seen = await stock.job(of_the_engine.key)
        assert seen is not None
        await stock.abort(seen, "by a stock producer")
        await eventually(lambda: _has_ended(of_the_engine.key, queues))
    started.clear()
    async with stock_worker(stock, endless):
        of_the_stock = await endless.enqueue()
        await started.wait()
        await of_the_stock.abort("by a handle")
        await eventually(lambda: _has_ended(of_the_stock.key, queues))
    assert {(await queues.find(each.key)).status for each in (of_the_engine, of_the_stock)} == {Status.ABORTED}


async def test_what_only_the_engine_knows_does_not_disturb_a_stock_worker(queues: Queues, stock: RedisQueue) -> None:
    runs: list[str] = []

    @task
    async def mark(ctx: Context, *, name: str) -> int:
        runs.append(name)
        return 1

    aborted = await mark.enqueue(name="aborted")
    await aborted.abort()
    high = await mark.options(priority="high").enqueue(name="high")
    normal = await mark.enqueue(name="normal")
    async with stock_worker(stock, mark):
        await normal.result(timeout=60)
    assert runs == ["normal"]
    assert await high.status() is Status.QUEUED


async def _is_empty(queues: Queues) -> bool:
    return await queues.get("default").count("incomplete") == 0


async def _has_ended(key: str, queues: Queues) -> bool:
    return (await queues.find(key)).status is Status.ABORTED


@pytest.mark.timings(recovery_look=0.05)
async def test_stock_workers_do_not_sweep_while_an_engine_worker_lives(
    settings: Settings, queues: Queues, container: AsyncContainer, stock: RedisQueue
) -> None:
    queue = queues.get("default")
    # Sweeps of stock workers come first, and their lock runs out.
    await stock.sweep(lock=2)
    await queue.pause()
    handle = await marking([]).enqueue(name="x")
    async with sweeping(settings, queues, container, stock):
        await eventually(lambda: _is_locked_for(stock, 10))
        assert await stock.dequeue(timeout=1) is not None
        assert await stock.sweep() == []
    assert (await handle.refresh()).error is None
    assert await queue.redis.llen(queue.namespace("active")) == 1


@pytest.mark.timings(second_look=0.0)
async def test_an_engine_worker_sweeps_when_the_lock_of_a_stock_sweep_runs_out(
    queues: Queues, stock: RedisQueue
) -> None:
    queue = queues.get("default")
    await stock.sweep(lock=600)
    await marking([]).enqueue(name="x")
    taken = await stock.dequeue(timeout=1)
    assert taken is not None
    assert await queue.sweep() == []
    # The time that is left of it has become that of the engine.
    await queue.redis.pexpire(queue.core.sweep_locks[1], 1)
    assert await eventually(queue.sweep) == [taken.id]


async def _is_locked_for(stock: RedisQueue, seconds: int) -> bool:
    return await stock.redis.ttl(stock.namespace("sweep")) > seconds


@pytest.mark.timings(second_look=0.0)
async def test_a_sweep_spares_what_a_stock_worker_has_just_taken(
    queues: Queues, stock: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queues.get("default")
    handle = await marking([]).enqueue(name="x")
    taken = await stock.dequeue(timeout=1)
    assert taken is not None
    looks: list[int] = []
    look = queue._taken_by_stock_workers

    async def marked_after_the_first_look() -> Any:
        found = await look()
        looks.append(len(found))
        taken.started = now()
        await taken.update(status=Status.ACTIVE)
        return found

    monkeypatch.setattr(queue, "_taken_by_stock_workers", marked_after_the_first_look)
    assert await queue.sweep() == []
    assert looks == [1, 1]
    assert (await handle.refresh()).error is None
    assert await queue.redis.llen(queue.namespace("active")) == 1


@pytest.mark.timings(second_look=0.0)
async def test_a_sweep_lets_run_again_what_a_dead_stock_worker_had_taken(queues: Queues, stock: RedisQueue) -> None:
    queue = queues.get("default")
    mark = marking([])
    unmarked = await mark.options(retries=2).enqueue(name="x")
    assert await stock.dequeue(timeout=1) is not None
    spent = await mark.enqueue(name="y")
    taken = await stock.dequeue(timeout=1)
    assert taken is not None
    taken.attempts, taken.started, taken.timeout = 1, now() - 60_000, 10
    await taken.update(status=Status.ACTIVE)
    # What cannot be read keeps no other from being swept.
    await queue.redis.set(queue.job_id("spoilt"), "no job")
    await queue.redis.lpush(queue.namespace("active"), queue.job_id("spoilt"), queue.job_id("gone"))
    assert set(await queue.sweep(abort=0.01)) == {unmarked.id, spent.id, queue.job_id("gone")}
    assert [(await each.refresh()).status for each in (unmarked, spent)] == [Status.QUEUED, Status.ABORTED]
    assert await queue.redis.lrange(queue.namespace("active"), 0, -1) == [queue.job_id("spoilt").encode()]
