"""Stock SAQ workers wait at the list at which a worker is woken for a job with limits."""

import asyncio
from typing import Any

import pytest

from saqueduct import Concurrency, Context, EngineQueue, task
from saqueduct.broker.keys import AWAITED
from tests.fixtures.poll import eventually

pytestmark = pytest.mark.usefixtures("registry")


async def waits(queue: EngineQueue, into: str, most: int) -> "asyncio.Task[Any]":
    """A connection that waits for an entry of the list, behind the `most - 1` others."""
    redis: Any = queue.redis
    waiting = asyncio.create_task(redis.blmove(queue.namespace("queued"), queue.namespace(into), 0, "LEFT", "RIGHT"))

    async def is_blocked() -> bool:
        blocked = await redis.client_list(_type="normal")
        return len([client for client in blocked if client["cmd"] == "blmove" and "b" in client["flags"]]) >= most

    await eventually(is_blocked)
    return waiting


@pytest.mark.parametrize("seen_before", [False, True], ids=["by its report", "by what it took"])
async def test_they_do_not_keep_a_worker_of_the_engine_from_waking(queue: EngineQueue, seen_before: bool) -> None:
    @task(limits=(Concurrency(1),))
    async def work(ctx: Context) -> None: ...

    if seen_before:
        await queue.redis.rpush(queue.namespace("active"), *["wake"] * 5)
    else:
        await queue.redis.zadd(
            queue.namespace("stats"), {queue.namespace("worker_info:stock"): await queue.time() * 2e3}
        )
    stock = [await waits(queue, "active", most) for most in range(1, 6)]
    engine = await waits(queue, AWAITED, 6)
    await work.enqueue()
    async with asyncio.timeout(60):
        assert await engine == b"wake"
        await asyncio.gather(*stock)


async def test_what_they_took_is_no_active_job(queue: EngineQueue) -> None:
    await queue.redis.rpush(queue.namespace("active"), "wake", "wake")
    await queue.sweep()
    assert await queue.count("active") == 0


async def test_without_them_one_entry_wakes_one_worker(queue: EngineQueue) -> None:
    @task(limits=(Concurrency(1),))
    async def work(ctx: Context) -> None: ...

    await work.enqueue()
    assert await queue.redis.llen(queue.namespace("queued")) == 1
