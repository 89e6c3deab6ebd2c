"""Lanes whose gate is full keep their turn where that comes late, and wait at the gate if it is full then, too."""

from typing import cast

import pytest

from saqueduct import Concurrency, Context, EngineQueue, Task, task
from saqueduct.queue.limit_waits import LimitWaits
from tests.flow.hands import Hands, names

pytestmark = pytest.mark.usefixtures("registry")

LANES = 12


@pytest.fixture
def work() -> Task[..., None]:
    @task(limits=(Concurrency(1, by="n", name="each"),))
    async def work(ctx: Context, *, n: int) -> None: ...

    return work


async def ring(queue: EngineQueue) -> list[int]:
    """The argument of the lanes in the ring, in their order."""
    lanes = cast("list[bytes]", await queue.redis.zrange(queue.namespace("flow:ring:normal"), 0, -1))
    return [int(lane.rpartition(b"\t")[2]) for lane in lanes]


async def waiting(queue: EngineQueue) -> list[int]:
    """The argument of the lanes that their gates say to wait there."""
    gates = cast("dict[bytes, bytes]", await queue.redis.hgetall(queue.namespace("flow:gates")))
    return sorted(int(gate.rpartition(b"\t")[2]) for gate, text in gates.items() if b"\n\nw" in text)


async def test_a_lane_with_a_full_gate_keeps_its_turn_and_is_visited_when_that_comes(
    queue: EngineQueue, hands: Hands, work: Task[..., None]
) -> None:
    await queue.enqueue_many([work.job({"n": n}) for _ in range(2) for n in range(LANES)])
    started = []
    for _ in range(2 * LANES // 4):
        jobs = await hands.lease(4)
        started += names(jobs)
        assert await waiting(queue) == []
        await hands.finish(*jobs)
    assert started == [*range(LANES), *range(LANES)]
    assert await queue.redis.keys(queue.namespace("flow:gates")) == []


async def test_a_lane_whose_gate_is_full_still_waits_there(
    queue: EngineQueue, hands: Hands, work: Task[..., None]
) -> None:
    await queue.enqueue_many([work.job({"n": n}) for _ in range(3) for n in range(LANES)])
    first, *others = await hands.lease(4)
    assert await ring(queue) == [*range(4, LANES), 0, 1, 2, 3]
    await hands.finish(*others)
    for _ in range(2):
        await hands.finish(*await hands.lease(4))
    jobs = await hands.lease(4)
    assert names(jobs) == [1, 2, 3, 4]
    assert await waiting(queue) == [0]
    assert 0 not in await ring(queue)
    await hands.finish(first)
    assert (await ring(queue))[-1] == 0
    assert names(await hands.all(LANES)) == [*range(5, LANES), 0]


async def test_lanes_that_are_all_full_leave_the_ring_and_follow(
    queue: EngineQueue, hands: Hands, work: Task[..., None]
) -> None:
    await queue.enqueue_many([work.job({"n": n}) for _ in range(2) for n in range(LANES)])
    running = [job for _ in range(LANES) for job in await hands.lease(1)]
    assert names(running) == list(range(LANES))
    assert await ring(queue) == list(range(LANES - 1))
    assert await hands.lease(LANES) == []
    assert (await ring(queue), hands.line) == ([], "")
    assert await waiting(queue) == list(range(LANES))
    await hands.finish(*running)
    assert sorted(names(await hands.all(LANES))) == list(range(LANES))


async def test_a_lane_that_keeps_its_turn_does_not_keep_others_of_its_gate_from_it(
    queue: EngineQueue, hands: Hands, work: Task[..., None]
) -> None:
    @task(limits=(Concurrency(1, by="n", name="each"), Concurrency(9, name="all")))
    async def other(ctx: Context, *, n: int) -> None: ...

    await queue.enqueue_many([work.job({"n": n}) for _ in range(4) for n in range(LANES)])
    [first] = await hands.lease(1)
    await queue.enqueue_many([other.job({"n": 0}) for _ in range(2)])
    before = [0, 0]
    ended = [first]
    while ended:
        await hands.finish(*ended)
        ended = await hands.all(LANES)
        assert len(set(names(ended))) == len(ended)
        for job in ended:
            before[job.function == "other"] += names([job]) == [0]
        if before[1] == 0:
            # The first of the other task comes after two of the lane that had its turn before it.
            assert before[0] <= 2
    assert before == [3, 2]


async def test_it_is_told_why_a_job_of_such_a_lane_waits(
    queue: EngineQueue, hands: Hands, work: Task[..., None]
) -> None:
    await queue.enqueue_many([work.options(key=f"{n}-{i}").job({"n": n}) for i in range(2) for n in range(LANES)])
    await hands.lease(1)
    assert await ring(queue) == [*range(1, LANES), 0]
    job = await queue.job("0-1")
    assert job is not None
    [wait] = await LimitWaits(queue.core, None).of(job)
    assert (wait.open, wait.running, wait.holders, wait.ahead, wait.others) == (False, 1, ("0-0",), 0, 0)
