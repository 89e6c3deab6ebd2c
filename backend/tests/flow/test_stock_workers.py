"""Stock SAQ workers wait at the list at which a worker is woken for a job with limits, and take the entry for a job."""

import pytest

from saqueduct import Concurrency, Context, EngineQueue, task

pytestmark = pytest.mark.usefixtures("registry")


async def test_what_they_took_is_no_active_job(queue: EngineQueue) -> None:
    await queue.redis.rpush(queue.namespace("active"), "wake", "wake")
    await queue.sweep()
    assert await queue.count("active") == 0


async def test_one_entry_wakes_one_worker(queue: EngineQueue) -> None:
    @task(limits=(Concurrency(1),))
    async def work(ctx: Context) -> None: ...

    await work.enqueue()
    assert await queue.redis.llen(queue.namespace("queued")) == 1
