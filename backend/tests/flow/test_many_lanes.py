"""A lease that finds very many lanes."""

import pytest

from saqueduct import Concurrency, Context, EngineQueue, task
from tests.flow.hands import Hands, names

pytestmark = pytest.mark.usefixtures("registry")

LANES = 510


async def test_a_worker_with_many_slots_reads_many_lanes_with_jobs_that_expire(
    queue: EngineQueue, hands: Hands
) -> None:
    @task(limits=(Concurrency(1, name="all"), Concurrency(1, by="n", name="each")))
    async def work(ctx: Context, *, n: int) -> None: ...

    await work.enqueue(n=-1)
    [first] = await hands.all()
    await queue.enqueue_many([work.options(expires=1000.0).job({"n": n}) for n in range(LANES)])
    async with queue.redis.pipeline() as pipe:
        for n in range(LANES):
            # As many as one visit takes.
            pipe.rpush(queue.namespace(f"flow:lane:normal\nall\t\neach\t{n}"), *["aborted"] * 16)
        await pipe.execute()
    assert await hands.lease(LANES) == []
    await hands.finish(first)
    assert names(await hands.all(LANES)) == [0]


@pytest.mark.parametrize("limits", [(), (Concurrency(1, by="n"),)], ids=["plain", "limited"])
async def test_a_worker_may_ask_for_more_jobs_than_a_command_has_arguments(
    queue: EngineQueue, hands: Hands, limits: tuple[Concurrency, ...]
) -> None:
    @task(limits=limits)
    async def work(ctx: Context, *, n: int) -> None: ...

    await queue.enqueue_many([work.job({"n": n}) for n in range(4100)])
    jobs = await hands.all(5000)
    assert sorted(names(jobs)) == list(range(4100))
    await hands.finish(*jobs)
    assert await queue.count("incomplete") == 0


async def test_many_jobs_at_once_are_not_kept_in_lists_through_which_redis_goes_for_each(
    queue: EngineQueue, hands: Hands
) -> None:
    @task(limits=(Concurrency(2, by="n"),))
    async def work(ctx: Context, *, n: int) -> None: ...

    await queue.enqueue_many([work.job({"n": n}) for n in range(12)])
    jobs = await hands.lease(10)
    tables = {"leases": "skiplist", "incomplete": "skiplist"} | dict.fromkeys(
        ("owners", "flow:lanes", "flow:gates"), "hashtable"
    )
    for key, encoding in tables.items():
        assert await queue.redis.object("ENCODING", queue.namespace(key)) == encoding.encode(), key
    assert await queue.redis.zcard(queue.namespace("leases")) == 10
    assert await queue.redis.zcard(queue.namespace("incomplete")) == 12
    assert await queue.redis.hlen(queue.namespace("flow:lanes")) == 12
    assert await queue.redis.hlen(queue.namespace("flow:gates")) == 10
    await hands.finish(*jobs, *await hands.all())
    assert await queue.redis.exists(*(queue.namespace(key) for key in tables)) == 0
