"""Limits, priorities and jobs without limits: none starves another."""

from collections import defaultdict
from typing import Literal

import pytest

from saqueduct import Concurrency, Context, EngineQueue, Rate, task
from saqueduct.tasks.job import EngineJob
from tests.flow.hands import Hands, names

pytestmark = pytest.mark.usefixtures("registry")


@pytest.mark.parametrize("leases_before", [0, 1])
async def test_a_job_that_waits_for_a_limit_keeps_the_turns_of_others(
    queue: EngineQueue, hands: Hands, leases_before: int
) -> None:
    @task(limits=(Concurrency(1),))
    async def limited(ctx: Context, *, n: int) -> None: ...

    @task
    async def free(ctx: Context, *, n: int) -> None: ...

    await queue.enqueue_many([limited.job({"n": n}) for n in range(2)])
    await hands.all()
    for _ in range(leases_before):
        await hands.lease(1)
    await queue.enqueue_many([free.options(priority="high").job({"n": n}) for n in range(40)])
    await free.options(priority="low").enqueue(n=99)
    assert 99 in [name for _ in range(20) for name in names(await hands.lease(1))]


@pytest.mark.parametrize("leases_before", [0, 1])
@pytest.mark.parametrize("priority", ["high", "low"])
async def test_jobs_with_limits_and_others_take_turns_at_each_priority(
    queue: EngineQueue, hands: Hands, priority: Literal["high", "low"], leases_before: int
) -> None:
    @task(limits=(Rate("many", 1000, burst=1000),))
    async def limited(ctx: Context, *, n: int) -> None: ...

    @task
    async def free(ctx: Context, *, n: int) -> None: ...

    for _ in range(leases_before):
        await limited.enqueue(n=0)
        await hands.all()
    other: Literal["high", "low"] = "low" if priority == "high" else "high"
    await queue.enqueue_many([free.options(priority=other).job({"n": 0}) for _ in range(100)])
    await queue.enqueue_many([free.options(priority=priority).job({"n": 1}) for _ in range(20)])
    await queue.enqueue_many([limited.options(priority=priority).job({"n": 2}) for _ in range(20)])
    ran = [name for _ in range(80) for name in names(await hands.lease(1))]
    assert ran.count(1) >= 3
    assert ran.count(2) >= 3


@pytest.mark.parametrize("shared", ["all", "total"])
@pytest.mark.parametrize("others", [0, 30])
@pytest.mark.parametrize("lasts", [1, 10])
@pytest.mark.parametrize("expires", [None, 3600.0])
async def test_lanes_take_turns_at_a_limit_that_they_share_where_each_is_full_of_its_own_too(
    queue: EngineQueue, hands: Hands, shared: str, others: int, lasts: int, expires: float | None
) -> None:
    """Whichever of both comes first, in a short and in a long ring, and by the short and the general way of visits."""
    each = Concurrency(1, by="n", name="each")

    @task(limits=(each, Concurrency(1, name=shared)))
    async def both(ctx: Context, *, n: int) -> None: ...

    @task(limits=(each,))
    async def other(ctx: Context, *, n: int) -> None: ...

    await queue.enqueue_many([both.job({"n": n}) for n in (0, 1) for _ in range(100)])
    if others:
        await queue.enqueue_many([other.job({"n": 10 + n}) for _ in range(50) for n in range(others)])
    if expires:
        await queue.enqueue_many([other.options(delay=expires, expires=2 * expires).job({"n": 9})])
    ran: list[int] = []
    running: dict[int, list[EngineJob]] = defaultdict(list)
    for turn in range(100):
        for job in await hands.lease(4):
            ran += names([job]) if job.function == "both" else []
            running[turn + lasts if job.function == "both" else turn].append(job)
        if ended := running.pop(turn, []):
            await hands.finish(*ended)
    assert len(ran) >= 4
    assert not {(0, 0, 0), (1, 1, 1)} & set(zip(ran, ran[1:], ran[2:], strict=False)), ran


async def test_a_low_priority_does_not_starve_at_a_gate(hands: Hands) -> None:
    @task(limits=(Concurrency(1),))
    async def limited(ctx: Context, *, n: int) -> None: ...

    await limited.options(priority="low").enqueue(n=0)
    await limited.options(priority="low").enqueue(n=0)
    ran = []
    for _ in range(2):
        await limited.options(priority="high").enqueue(n=1)
    for _ in range(200):
        await limited.options(priority="high").enqueue(n=1)
        [job] = await hands.all()
        ran += names([job])
        await hands.finish(job)
    assert ran.count(0) == 2


async def test_an_abort_of_the_last_entry_of_the_list_leaves_a_worker_woken(queue: EngineQueue) -> None:
    @task(limits=(Concurrency(1),))
    async def limited(ctx: Context) -> None: ...

    @task
    async def free(ctx: Context) -> None: ...

    listed = await free.enqueue()
    await limited.enqueue()
    job = await queue.job(listed.key)
    assert job is not None
    await queue.abort(job, "stop")
    assert await queue.redis.llen(queue.namespace("queued")) == 1
