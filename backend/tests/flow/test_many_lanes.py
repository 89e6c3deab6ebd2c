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


async def test_jobs_whose_keys_have_line_breaks_hold_their_limits(queue: EngineQueue, hands: Hands) -> None:
    @task(limits=(Concurrency(2, by="n"),))
    async def work(ctx: Context, *, n: int) -> None: ...

    await queue.enqueue_many([work.options(key=f"{n}\n\n{i}").job({"n": n}) for n in range(3) for i in range(3)])
    jobs = await hands.all()
    assert sorted(names(jobs)) == [0, 0, 1, 1, 2, 2]
    for job in jobs:
        await hands.finish(job)
    rest = await hands.all()
    assert sorted(names(rest)) == [0, 1, 2]
    await hands.finish(*rest)
    assert await queue.redis.exists(queue.namespace("flow:gates")) == 0


async def test_lanes_that_are_alike_but_for_several_keys_start_together(queue: EngineQueue, hands: Hands) -> None:
    everywhere, each, other = (
        Concurrency(40, name="all"),
        Concurrency(1, by="n", name="each"),
        Concurrency(2, by="to", name="other"),
    )

    @task(limits=(everywhere, each, other), fair="n")
    async def work(ctx: Context, *, n: str, to: str) -> None: ...

    calls = [{"n": n, "to": to} for n in ("", "a", "a\n", "a\tb", "long", "a\n\tb") for to in ("", "a", "x\ty")]
    await queue.enqueue_many([work.job(call) for call in calls for _ in range(2)])
    started = 0
    while jobs := await hands.all(5):
        assert len(set(names(jobs))) == len(jobs)
        started += len(jobs)
        await hands.finish(*jobs)
    assert started == 2 * len(calls)
    assert await queue.redis.keys(queue.namespace("flow:gates")) == []


async def test_lanes_of_several_tasks_that_share_a_gate_start_no_more_jobs_than_it_lets(
    queue: EngineQueue, hands: Hands
) -> None:
    each = Concurrency(1, by="n", name="each")

    @task(limits=(each,))
    async def one(ctx: Context, *, n: int) -> None: ...

    @task(limits=(each, Concurrency(5, by="n", name="other")))
    async def two(ctx: Context, *, n: int) -> None: ...

    await queue.enqueue_many([one.job({"n": n}) for n in range(5)])
    await queue.enqueue_many([two.job({"n": n}) for n in range(5)])
    for _ in range(2):
        jobs = await hands.all(20)
        assert sorted(names(jobs)) == [0, 1, 2, 3, 4]
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
