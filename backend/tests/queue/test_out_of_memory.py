"""Redis out of memory (`noeviction`): new work is refused whole, what runs goes on, and nothing runs twice for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from dishka import AsyncContainer
from msgspec import structs
from saq.job import Status

from app.settings import Settings
from saqueduct import Context, EngineQueue, Queues, QueueUnavailable, Unique, enqueue_many, task
from tests.fixtures.poll import eventually
from tests.queue.kit import marking, working

pytestmark = pytest.mark.usefixtures("only_own_tasks")

Full = Callable[[], Any]


@pytest.fixture
async def full(queues: Queues) -> AsyncIterator[Full]:
    """Blocks in which Redis has no memory left."""
    redis = queues.get("default").redis

    @asynccontextmanager
    async def out_of_memory() -> AsyncIterator[None]:
        await redis.config_set("maxmemory", 1)
        try:
            yield
        finally:
            await redis.config_set("maxmemory", 0)

    yield out_of_memory
    await redis.config_set("maxmemory", 0)


frequent_looks = pytest.mark.timings(renewal=0.1, recovery_wait=0.1, recovery_look=0.1)
"""Leases are renewed and looked at ten times in a second."""

RENEWALS = 3
"""Of each lease while Redis is full; the usual leases last long enough for a busy machine."""


async def _contents(queue: EngineQueue) -> dict[bytes, bytes | None]:
    """All that Redis holds of the queue but for what is counted and timed."""
    keys = [key async for key in queue.redis.scan_iter()]
    skipped = tuple(queue.namespace(name).encode() for name in ("stats", "worker_info", "vitals", "turns"))
    return {key: await queue.redis.dump(key) for key in keys if not key.startswith(skipped)}


@frequent_looks
@pytest.mark.parametrize("at_most_once", [False, True])
async def test_a_job_that_runs_meanwhile_runs_once_and_completes(
    settings: Settings, queues: Queues, container: AsyncContainer, full: Full, at_most_once: bool
) -> None:
    runs: list[int] = []
    go = asyncio.Event()

    @task(timeout=60, at_most_once=at_most_once)
    async def long(ctx: Context, *, n: int) -> int:
        runs.append(n)
        await go.wait()
        await ctx["job"].update(progress=0.5)
        return n

    queue = queues.get("default")
    async with working(settings, queues, container), working(settings, queues, container):
        handles = await enqueue_many(long.bind(n=n) for n in range(10))
        await eventually(lambda: len(runs) == 10)
        async with full():
            for _ in range(RENEWALS):
                await _renewal(queue, len(runs))
            go.set()
            # What has run is written although Redis is full.
            assert [await handle.result(timeout=60) for handle in handles] == list(range(10))
        await eventually(lambda: _is_idle(queue))
    assert sorted(runs) == list(range(10))
    assert {(await handle.refresh()).status for handle in handles} == {Status.COMPLETE}


@frequent_looks
async def test_memory_that_is_short_again_and_again_makes_no_recovery(
    settings: Settings, queues: Queues, container: AsyncContainer, full: Full
) -> None:
    runs: list[int] = []
    go = asyncio.Event()

    @task(timeout=60)
    async def long(ctx: Context) -> None:
        runs.append(1)
        await go.wait()

    queue = queues.get("default")
    async with working(settings, queues, container), working(settings, queues, container):
        handle = await long.enqueue()
        await eventually(lambda: runs)
        for _ in range(2 * RENEWALS):
            async with full():
                await _renewal(queue, len(runs))
        go.set()
        await handle.result(timeout=60)
    assert runs == [1]


async def _renewal(queue: EngineQueue, count: int) -> None:
    """Wait until all of so many leases end later than now."""

    async def deadlines() -> dict[bytes, float]:
        leases: Any = await queue.redis.zrange(queue.namespace("leases"), 0, -1, withscores=True)
        return dict(leases)

    async def later() -> bool:
        now = await deadlines()
        return len(now) == count and all(now[key] > deadline for key, deadline in before.items())

    before = await deadlines()
    assert len(before) == count
    await eventually(later)


async def _is_idle(queue: EngineQueue) -> bool:
    return await queue.count("incomplete") == 0


async def _one(mark: Any) -> None:
    await mark.enqueue(name="new")


async def _with_a_key(mark: Any) -> None:
    await mark.options(key="k", delay=60).enqueue(name="new")


async def _many(mark: Any) -> None:
    await enqueue_many(mark.bind(name=f"{n}") for n in range(10))


async def _a_replacing_one(mark: Any) -> None:
    await mark.options(unique=Unique(on_conflict="replace")).enqueue(name="waits")


async def _a_replacing_one_among_others(mark: Any) -> None:
    replacing = mark.options(unique=Unique(on_conflict="replace"))
    await enqueue_many([replacing.bind(name="waits"), mark.options(key="k").bind(name="new")])


@pytest.mark.parametrize(
    "enqueue",
    [_one, _with_a_key, _many, _a_replacing_one, _a_replacing_one_among_others],
    ids=lambda each: each.__name__,
)
async def test_an_enqueue_is_refused_and_leaves_all_as_it_was(
    queues: Queues, full: Full, enqueue: Callable[[Any], Awaitable[None]]
) -> None:
    queue = queues.get("default")
    mark = marking([])
    await mark.options(unique=Unique(on_conflict="replace")).enqueue(name="waits")
    before = await _contents(queue)
    async with full():
        with pytest.raises(QueueUnavailable):
            await enqueue(mark)
        assert await _contents(queue) == before


async def test_over_http_it_is_503(queues: Queues, client: httpx.AsyncClient, full: Full) -> None:
    @task
    async def my_task(ctx: Context, *, user_id: int) -> None: ...

    async with full():
        assert (await client.post("/process", params={"user_id": 7})).status_code == 503


async def test_no_worker_takes_a_job_and_all_are_taken_afterwards(
    settings: Settings, queues: Queues, container: AsyncContainer, full: Full
) -> None:
    runs: list[str] = []
    mark = marking(runs)
    handles = await enqueue_many(mark.bind(name=f"{n}") for n in range(10))
    queue = queues.get("default")
    before = await _contents(queue)
    async with full():
        async with working(settings, queues, container, schedules=False):
            await eventually(lambda: queue.away)
        assert await _contents(queue) == before
    async with working(settings, queues, container):
        for handle in handles:
            await handle.result(timeout=60)
    assert sorted(runs) == [f"{n}" for n in range(10)]


async def test_jobs_can_be_aborted_to_make_room(
    settings: Settings, queues: Queues, container: AsyncContainer, full: Full
) -> None:
    started = asyncio.Event()

    @task(timeout=60)
    async def endless(ctx: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    waits = await endless.options(delay=60).enqueue()
    async with working(settings, queues, container):
        runs = await endless.enqueue()
        await started.wait()
        async with full():
            await waits.abort("to make room")
            await runs.abort("to make room")
            await eventually(runs.done)
    assert {await each.status() for each in (waits, runs)} == {Status.ABORTED}


async def test_what_fails_or_is_handed_back_is_written(
    environment: dict[str, str], queues: Queues, container: AsyncContainer, full: Full, settings: Settings
) -> None:
    started: list[str] = []
    go = asyncio.Event()

    @task(timeout=60, retries=2, retry_delay=60)
    async def fails(ctx: Context) -> None:
        started.append("fails")
        await go.wait()
        raise ValueError("at the first attempt")

    @task(timeout=60, at_most_once=False)
    async def stays(ctx: Context) -> None:
        started.append("stays")
        await asyncio.Event().wait()

    failing, staying = await fails.enqueue(), await stays.enqueue()
    async with full_after(settings, queues, container, started, full):
        go.set()
        await eventually(lambda: _attempts(failing, 1))
    again, back = await failing.refresh(), await staying.refresh()
    assert (again.status, again.attempts) == (Status.QUEUED, 1)
    assert (back.status, back.attempts) == (Status.QUEUED, 0)


@asynccontextmanager
async def full_after(
    settings: Settings, queues: Queues, container: AsyncContainer, started: list[str], full: Full
) -> AsyncIterator[None]:
    """Redis is full from the start of two jobs until their worker has stopped."""
    # Left in the order: the block, the worker, the lack of memory.
    impatient = structs.replace(settings, worker=structs.replace(settings.worker, grace_period=0))
    workers = working(impatient, queues, container)
    await workers.__aenter__()
    await eventually(lambda: len(started) == 2)
    async with full():
        try:
            yield
        finally:
            await workers.__aexit__(None, None, None)


async def _attempts(handle: Any, count: int) -> bool:
    job = await handle.refresh()
    return bool(job.status is Status.QUEUED and job.attempts == count)
