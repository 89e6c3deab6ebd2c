"""What limits keep in Redis goes when no job needs it any more."""

from typing import Any, cast

import pytest

from saqueduct import Concurrency, Context, EngineQueue, Rate, task
from saqueduct.testing import JobKit
from tests.flow.hands import Hands, names
from tests.flow.test_taken_rates import token, whole_job
from tests.flow.test_taking import Part, leased, taker

pytestmark = pytest.mark.usefixtures("registry")

ONE = Concurrency(1, name="api")
GATE = "api\t"


async def left_of(queue: EngineQueue) -> set[str]:
    base = queue.namespace("flow:")
    return {key.decode().removeprefix(base) for key in await cast("Any", queue.redis).keys(f"{base}*")}


async def test_nothing_is_left_of_a_job_that_others_have_passed(queue: EngineQueue, hands: Hands, jobs: JobKit) -> None:
    @task(limits=(ONE,))
    async def whole(ctx: Context) -> None: ...

    takers = await leased(hands, taker(ONE), 2)
    first, second = ("1" * 16, "2" * 16)
    assert await hands.take(takers[0], GATE, first, ONE.rule) == "granted"
    await whole.enqueue()
    assert await hands.all() == []
    await hands.take(takers[1], GATE, second, ONE.rule)
    await hands.give(takers[0], first, GATE)
    # No worker has a slot, so the other one passes the job; then one has, and there is no room.
    jobs.travel(2.0)
    assert await hands.take(takers[1], GATE, second, ONE.rule) == "granted"
    assert await hands.all() == []
    await hands.give(takers[1], second, GATE)
    await hands.finish(*takers)
    await hands.finish(*await hands.all())
    assert await left_of(queue) <= {"limits", "declared", "turn", "begun", "checked"}


@pytest.mark.parametrize("expires", [None, 3600.0])
async def test_an_aborted_job_whose_entry_stays_in_a_long_lane_does_not_run_twice_when_its_key_is_enqueued_again(
    queue: EngineQueue, hands: Hands, expires: float | None
) -> None:
    @task(limits=(Concurrency(5, name="api"),))
    async def limited(ctx: Context) -> None: ...

    again = limited.options(key="again", expires=expires)
    lane, redis = queue.namespace(f"flow:lane:normal\n{GATE}"), cast("Any", queue.redis)
    await again.enqueue()
    # An abort searches no list that is longer.
    await redis.rpush(lane, *[b"another"] * 10_000)
    job = await queue.job("again")
    assert job is not None
    await queue.abort(job, "stop")
    await redis.ltrim(lane, 0, 0)
    await again.enqueue()
    assert await redis.llen(lane) == 2
    assert [each.key for each in await hands.all()] == ["again"]


async def test_one_that_waits_to_take_a_limit_and_whose_calls_are_evicted_hinders_nobody(
    queue: EngineQueue, hands: Hands
) -> None:
    @task(limits=(ONE,))
    async def whole(ctx: Context) -> None: ...

    [waits] = await leased(hands, taker(ONE), 1)
    await whole.enqueue()
    [running] = await hands.all()
    await hands.take(waits, GATE, "1" * 16, ONE.rule)
    await queue.redis.delete(queue.namespace("flow:takes"), queue.namespace(f"flow:takes:{queue.job_id(waits.key)}"))
    await hands.finish(running)
    await hands.finish(waits)
    await queue.sweep()
    await whole.enqueue()
    await hands.finish(*await hands.all())
    assert await queue.count("incomplete") == 0


async def test_one_that_waits_to_take_a_limit_and_was_lost_from_its_line_gets_its_place_back(
    queue: EngineQueue, hands: Hands
) -> None:
    first, second = await leased(hands, taker(ONE), 2)
    await hands.take(first, GATE, token(1), ONE.rule)
    await hands.take(second, GATE, token(2), ONE.rule)
    turns = await queue.redis.zrange(queue.namespace(f"flow:waiters:{GATE}"), 0, -1, withscores=True)
    await queue.redis.delete(queue.namespace(f"flow:takers:{GATE}"))
    await hands.take(second, GATE, token(2), ONE.rule)
    assert await queue.redis.zrange(queue.namespace(f"flow:takers:{GATE}"), 0, -1, withscores=True) == turns


async def test_nothing_is_granted_to_one_that_waits_no_longer_and_was_left_in_the_line(
    queue: EngineQueue, hands: Hands, jobs: JobKit
) -> None:
    first, second, third = await leased(hands, taker(ONE), 3)
    whole = whole_job(ONE, Concurrency(1, by="n", name="one of each"))
    await hands.take(first, GATE, token(1), ONE.rule)
    for n in range(2):
        await whole.enqueue(n=n)
    assert await hands.all() == []
    await hands.take(second, GATE, token(2), ONE.rule)
    await queue.redis.zrem(queue.namespace(f"flow:waiters:{GATE}"), f"\2{token(2)}{queue.job_id(second.key)}")
    await cast("Any", queue.redis).delete(queue.namespace(f"flow:takes:{queue.job_id(second.key)}"))
    await cast("Any", queue.redis).srem(queue.namespace("flow:takes"), queue.job_id(second.key))
    await hands.give(first, token(1), GATE)
    # No worker has a slot for the first job, which has been called.
    jobs.travel(2.0)
    assert await hands.take(third, GATE, token(3), ONE.rule) == "granted"


async def test_a_lane_that_no_longer_finds_room_keeps_its_turn(queue: EngineQueue, hands: Hands) -> None:
    @task(limits=(ONE,))
    async def limited(ctx: Context, *, n: int) -> None: ...

    redis, gates = cast("Any", queue.redis), queue.namespace("flow:gates")
    await queue.enqueue_many([limited.job({"n": n}) for n in range(3)])
    [running] = await hands.all()
    _, _, waiting = (await redis.hget(gates, GATE)).partition(b"\n\nw")
    await hands.finish(running)
    assert await redis.hget(gates, GATE) == b"0\n\nc" + waiting
    # As if a job of another lane had taken it.
    await redis.hset(gates, GATE, f"1\n{queue.job_id('another')}\n\nc".encode() + waiting)
    assert await hands.all() == []
    turn, _, lane = waiting.partition(b" ")
    assert await redis.zrange(queue.namespace(f"flow:waiters:{GATE}"), 0, -1, withscores=True) == [(lane, float(turn))]
    await redis.srem(queue.namespace(f"flow:held:{GATE}"), queue.job_id("another"))
    await queue.sweep()
    assert names(await hands.all()) == [1]


RATE = Rate("slow", 1, per=1000)
KEPT = {"limits", "declared", "turn", "begun", "checked", "rates"}


@pytest.mark.parametrize("ends", ["passes at once", "waits and passes", "waits and gives up", "waits and ends"])
async def test_nothing_is_left_of_a_rate_that_a_job_has_taken(
    queue: EngineQueue, hands: Hands, jobs: JobKit, ends: str
) -> None:
    takers = await leased(hands, taker(RATE), 2)
    assert await hands.take(takers[0], "slow\t", token(1), RATE.rule) == "free"
    if ends != "passes at once":
        assert await hands.take(takers[1], "slow\t", token(2), RATE.rule) not in {"free", "granted"}
    if ends == "waits and passes":
        jobs.travel(1001)
        assert await hands.take(takers[1], "slow\t", token(2), RATE.rule) == "granted"
    elif ends == "waits and gives up":
        await hands.give(takers[1], token(2), "slow\t")
    await hands.finish(*takers)
    left = {each for each in await left_of(queue) if not each.startswith("start:")}
    assert left - {"sleeping"} <= KEPT


async def test_nothing_is_left_of_a_delayed_job_that_is_aborted(queue: EngineQueue, hands: Hands) -> None:
    @task(limits=(ONE,))
    async def whole(ctx: Context) -> None: ...

    delayed = await whole.options(delay=1000).enqueue()
    job = await queue.job(delayed.key)
    assert job is not None
    await queue.abort(job, "stop")
    assert await left_of(queue) <= KEPT


async def test_nothing_is_left_of_a_lane_that_was_called_before_its_limit_became_a_rate(
    queue: EngineQueue, hands: Hands
) -> None:
    await queue.enqueue_many([whole_job(ONE).job({"n": n}) for n in range(2)])
    await hands.finish(*await hands.all())
    assert b"c" in await cast("Any", queue.redis).hget(queue.namespace("flow:gates"), GATE)
    await cast("Any", queue.redis).hset(queue.namespace("flow:limits"), "api", "r 1 1000.0 5")
    await hands.finish(*await hands.all())
    assert await left_of(queue) <= KEPT


async def test_the_lane_that_waits_alone_at_a_gate_follows_also_a_job_of_another_lane(
    queue: EngineQueue, hands: Hands
) -> None:
    """No script of today writes such a field: another lane's wait is in keys of its own."""

    @task(limits=(ONE,))
    async def first(ctx: Context) -> None: ...

    @task(limits=(ONE, Concurrency(5, name="other")))
    async def second(ctx: Context) -> None: ...

    await first.enqueue()
    [running] = await hands.all()
    waits = await second.enqueue()
    redis, flow = cast("Any", queue.redis), queue.namespace("flow:")
    lane = (await redis.hget(f"{flow}lanes", waits.id)).decode()
    await redis.zrem(f"{flow}ring:normal", lane)
    await redis.hset(f"{flow}gates", GATE, f"1\n{running.id}\n\nw2{7:015d} {lane}")
    await hands.finish(running)
    assert [job.key for job in await hands.all()] == [waits.key]


async def test_what_a_job_has_kept_of_a_limit_that_was_not_ordered_before_stays_its_own(
    queue: EngineQueue, hands: Hands
) -> None:
    await queue.enqueue_many([whole_job(ONE).job({"n": n}) for n in range(2)])
    [first] = await hands.all()
    await cast("Any", queue.redis).hset(queue.namespace("flow:limits"), "api", "o 1")
    await hands.retry(first, 1000.0)
    await queue.sweep()
    assert await hands.all() == []


async def test_a_lane_whose_call_is_evicted_is_called_again(queue: EngineQueue, hands: Hands, jobs: JobKit) -> None:
    whole = whole_job(ONE, Concurrency(1, by="n", name="one of each"))
    [work] = await leased(hands, taker(ONE), 1)
    await hands.take(work, GATE, token(1), ONE.rule)
    for n in range(2):
        await whole.enqueue(n=n)
    assert await hands.all() == []
    # One lane is called, and the other one waits.
    await hands.give(work, token(1), GATE)
    await queue.redis.delete(queue.namespace("flow:called"))
    [first] = await hands.all()
    await hands.finish(first, work)
    for _ in range(2):
        await queue.sweep()
    assert len(await hands.all()) == 1


async def test_one_that_waits_to_take_a_limit_follows_a_job_whose_lane_is_evicted(
    queue: EngineQueue, hands: Hands
) -> None:
    whole, [waits] = whole_job(ONE), await leased(hands, taker(ONE), 1)
    await whole.enqueue()
    [running] = await hands.all()
    await hands.take(waits, GATE, token(1), ONE.rule)
    await queue.redis.delete(queue.namespace("flow:lanes"))
    await hands.finish(running)
    await queue.sweep()
    assert await hands.take(waits, GATE, token(1), ONE.rule) == "granted"


async def test_a_gate_that_a_fault_has_left_in_use_goes_also_when_no_job_has_limits_any_more(
    queue: EngineQueue, hands: Hands
) -> None:
    await whole_job(ONE).enqueue()
    [running] = await hands.all()
    await queue.redis.delete(queue.namespace("flow:lanes"), queue.namespace("flow:places"))
    await hands.finish(running)
    assert GATE.encode() in await cast("Any", queue.redis).hkeys(queue.namespace("flow:gates"))
    await queue.sweep()
    assert await left_of(queue) <= KEPT


async def test_rates_that_are_at_rest_are_forgotten(queue: EngineQueue, hands: Hands, jobs: JobKit) -> None:
    @task(limits=(Rate("each", 1, per=10, by="n"),))
    async def rated(ctx: Context, *, n: int) -> None: ...

    redis, rates = cast("Any", queue.redis), queue.namespace("flow:rates")
    await queue.enqueue_many([rated.job({"n": n}) for n in range(20)])
    await hands.finish(*await hands.all(20))
    await queue.sweep()
    assert await redis.hlen(rates) == 20
    jobs.travel(11)
    await queue.sweep()
    assert await redis.hlen(rates) == 0


@pytest.mark.parametrize("closed", [False, True], ids=["the short way", "the general way"])
async def test_very_many_rates_at_rest_are_forgotten_by_the_leases(
    queue: EngineQueue, hands: Hands, closed: bool
) -> None:
    @task(limits=(Rate("each", 1, per=1000, by="n"),))
    async def rated(ctx: Context, *, n: int) -> None: ...

    redis, rates = cast("Any", queue.redis), queue.namespace("flow:rates")
    if closed:
        await redis.hset(queue.namespace("flow:closed"), "other", "9999999999 60")
    await redis.hset(rates, mapping={f"each\t{-n}": "1.0" for n in range(1, 20_021)})
    for first in range(0, 60, 20):
        await queue.enqueue_many([rated.job({"n": n}) for n in range(first, first + 20)])
        assert len(await hands.all(20)) == 20
    assert await redis.hlen(rates) <= 20_000
    assert set(await redis.hmget(rates, *[f"each\t{n}" for n in range(60)])).isdisjoint({None, b"1.0"})


async def test_very_many_rates_at_rest_are_forgotten_by_those_who_take_one(queue: EngineQueue, hands: Hands) -> None:
    each = Rate("each", 1, per=1000, by="n")

    @task(takes=(each,))
    async def work(ctx: Context, *, n: int) -> None: ...

    redis, rates = cast("Any", queue.redis), queue.namespace("flow:rates")
    await redis.hset(rates, mapping={f"each\t{-n}": "1.0" for n in range(1, 20_021)})
    [job] = await leased(hands, work, 1)
    for n in range(20):
        part = Part(job, "each", n=n)
        await part.has_it()
        await part.end()
    assert await redis.hlen(rates) <= 20_020
