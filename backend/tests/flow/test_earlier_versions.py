"""Workers of an earlier version run beside those of this one: each continues what the other has begun."""

from typing import Any, cast

import pytest

from saqueduct import Concurrency, Context, EngineQueue, Rate, task
from saqueduct.testing import JobKit
from tests.flow.hands import Hands, names
from tests.flow.test_taken_rates import token, whole_job
from tests.flow.test_taking import leased, taker

pytestmark = pytest.mark.usefixtures("registry")

RATE = Rate("api", 1, per=100.0)
ONE = Concurrency(1, name="api")
GATE = "api\t"


async def test_they_can_read_for_which_jobs_a_rate_keeps_a_start(
    queue: EngineQueue, hands: Hands, jobs: JobKit
) -> None:
    first, second = await leased(hands, taker(RATE), 2)
    await hands.take(first, GATE, token(1), RATE.rule)
    await whole_job(RATE).enqueue()
    assert await hands.all() == []
    jobs.travel(100.0)
    await hands.take(second, GATE, token(2), RATE.rule)
    [turn, gate] = (await cast("Any", queue.redis).hvals(queue.namespace("flow:called")))[0].split(b" ")
    assert (float(turn) > 0, gate) == (True, GATE.encode())


async def test_they_can_read_the_turn_of_a_lane_for_which_no_room_is_kept(queue: EngineQueue, hands: Hands) -> None:
    @task(limits=(ONE,))
    async def limited(ctx: Context, *, n: int) -> None: ...

    await queue.enqueue_many([limited.job({"n": n}) for n in range(3)])
    [running] = await hands.all()
    redis = cast("Any", queue.redis)
    [(_, before)] = await redis.zrange(queue.namespace(f"flow:waiters:{GATE}"), 0, -1, withscores=True)
    await hands.finish(running)
    assert not await queue.redis.exists(queue.namespace(f"flow:waiters:{GATE}"), queue.namespace(f"flow:called:{GATE}"))
    [turn, gate] = (await cast("Any", queue.redis).hvals(queue.namespace("flow:called")))[0].split(b" ")
    assert gate == GATE.encode()
    # As such a worker puts it back when the gate is full.
    await redis.execute_command("ZADD", queue.namespace("turns"), turn, "lane")
    assert await queue.redis.zscore(queue.namespace("turns"), "lane") == before
    await queue.redis.delete(queue.namespace("turns"))
    [next_] = await hands.all()
    assert names([next_]) == [1]


async def test_a_lane_that_no_longer_finds_room_keeps_its_turn(queue: EngineQueue, hands: Hands) -> None:
    @task(limits=(ONE,))
    async def limited(ctx: Context, *, n: int) -> None: ...

    await queue.enqueue_many([limited.job({"n": n}) for n in range(3)])
    [running] = await hands.all()
    waiting = await queue.redis.zrange(queue.namespace(f"flow:waiters:{GATE}"), 0, -1, withscores=True)
    await hands.finish(running)
    # As if a job of another lane had taken it.
    await cast("Any", queue.redis).sadd(queue.namespace(f"flow:held:{GATE}"), "another")
    assert await hands.all() == []
    assert await queue.redis.zrange(queue.namespace(f"flow:waiters:{GATE}"), 0, -1, withscores=True) == waiting


async def test_a_job_that_they_let_wait_gets_its_place_in_the_line_of_those_that_take(
    queue: EngineQueue, hands: Hands
) -> None:
    first, second = await leased(hands, taker(ONE), 2)
    await hands.take(first, GATE, token(1), ONE.rule)
    await hands.take(second, GATE, token(2), ONE.rule)
    turns = await queue.redis.zrange(queue.namespace(f"flow:waiters:{GATE}"), 0, -1, withscores=True)
    await queue.redis.delete(queue.namespace(f"flow:takers:{GATE}"))
    await hands.take(second, GATE, token(2), ONE.rule)
    assert await queue.redis.zrange(queue.namespace(f"flow:takers:{GATE}"), 0, -1, withscores=True) == turns


async def test_nothing_is_granted_to_a_job_that_they_let_wait_no_longer(
    queue: EngineQueue, hands: Hands, jobs: JobKit
) -> None:
    first, second, third = await leased(hands, taker(ONE), 3)
    whole = whole_job(ONE, Concurrency(1, by="n", name="one of each"))
    await hands.take(first, GATE, token(1), ONE.rule)
    for n in range(2):
        await whole.enqueue(n=n)
    assert await hands.all() == []
    await hands.take(second, GATE, token(2), ONE.rule)
    # As such a worker does it.
    await queue.redis.zrem(queue.namespace(f"flow:waiters:{GATE}"), f"\2{token(2)}{queue.job_id(second.key)}")
    await cast("Any", queue.redis).delete(queue.namespace(f"flow:takes:{queue.job_id(second.key)}"))
    await cast("Any", queue.redis).srem(queue.namespace("flow:takes"), queue.job_id(second.key))
    await hands.give(first, token(1), GATE)
    # No worker has a slot for the first job, which has been called.
    jobs.travel(2.0)
    assert await hands.take(third, GATE, token(3), ONE.rule) == "granted"


async def test_a_low_priority_that_they_let_wait_does_not_starve(queue: EngineQueue, hands: Hands) -> None:
    @task(limits=(ONE,))
    async def limited(ctx: Context, *, n: int) -> None: ...

    await limited.enqueue(n=1)
    [running] = await hands.all()
    await limited.options(priority="low").enqueue(n=0)
    assert await hands.all() == []
    await queue.redis.zadd(queue.namespace(f"flow:waiters:{GATE}"), {f"low\n{GATE}": 2251799813685249})
    await queue.enqueue_many([limited.options(priority="high").job({"n": 1}) for _ in range(150)])
    ran = []
    for _ in range(140):
        await hands.finish(running)
        [running] = await hands.all()
        ran += names([running])
    assert 0 in ran
