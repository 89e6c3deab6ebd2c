"""Rates that whole jobs and parts of jobs share: their turns, and starts that nobody has used."""

import asyncio
import random
from typing import Any

import pytest
from redis.asyncio.client import PubSub

from saqueduct import Concurrency, Context, EngineQueue, LimitTimeout, Queues, Rate, limit, task
from saqueduct.queue.limits import Limits
from saqueduct.tasks.job import EngineJob
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually
from tests.flow.hands import Hands, names
from tests.flow.test_taking import leased, running, taker, waiting

# Jobs that wait have to be woken.
pytestmark = [pytest.mark.usefixtures("registry"), pytest.mark.timings(limit_look=1000.0)]

STEP = 100.0
RATE = Rate("api", 1, per=STEP)
GATE = "api\t"


def whole_job(*limits: Concurrency | Rate) -> Any:
    @task(name="whole", limits=limits)
    async def whole(ctx: Context, *, n: int = 0) -> None: ...

    return whole


def token(number: int) -> str:
    return f"{number:016x}"


class Takers:
    """Leased jobs that ask for a rate, each with the token of its number."""

    def __init__(self, hands: Hands, jobs: list[EngineJob], rate: Rate = RATE) -> None:
        self._hands, self._jobs, self._rate = hands, jobs, rate
        self.passed: list[int] = []

    async def ask(self, *numbers: int) -> None:
        """Let these ask for their turn, in this order."""
        for number in numbers:
            answer = await self._hands.take(self._jobs[number], GATE, token(number), self._rate.rule)
            if answer in ("free", "granted") and number not in self.passed:
                self.passed.append(number)

    async def leave(self, number: int, *, used: bool = False) -> None:
        await self._hands.give(self._jobs[number], token(number), GATE, used=used)


@pytest.fixture
async def takers(hands: Hands) -> Takers:
    return Takers(hands, await leased(hands, taker(RATE), 6))


async def test_a_whole_job_whose_turn_has_come_starts_with_the_next_slot(
    hands: Hands, jobs: JobKit, takers: Takers
) -> None:
    await takers.ask(0)
    await whole_job(RATE).enqueue()
    assert await hands.all() == []
    # No worker has a slot, until here.
    for _ in range(4):
        jobs.travel(STEP)
        await takers.ask(1, 2, 3, 4)
    assert takers.passed == [0, 1, 2, 3]
    [job] = await hands.all()
    assert job.function == "whole"


async def test_no_start_is_lost_while_a_whole_job_waits_for_a_slot(hands: Hands, jobs: JobKit, takers: Takers) -> None:
    await takers.ask(0)
    await whole_job(RATE).enqueue()
    assert await hands.all() == []
    jobs.travel(STEP)
    await takers.ask(1, 2)
    jobs.travel(STEP)
    await takers.ask(1, 2)
    assert takers.passed == [0, 1]
    assert len(await hands.all()) == 1
    jobs.travel(STEP)
    await takers.ask(2)
    assert takers.passed == [0, 1, 2]


async def test_whole_jobs_get_their_turns_one_after_another(hands: Hands, jobs: JobKit, takers: Takers) -> None:
    await takers.ask(0)
    whole = whole_job(RATE, Concurrency(1, by="n", name="one of each"))
    for n in range(3):
        await whole.enqueue(n=n)
        assert await hands.all() == []
    jobs.travel(STEP)
    await takers.ask(1, 2, 3, 4, 5)
    started = []
    for _ in range(8):
        jobs.travel(STEP)
        await takers.ask(1, 2, 3, 4, 5)
        started += await hands.all()
    assert names(started) == [0, 1, 2]
    assert takers.passed == [0, 1, 2, 3, 4, 5]


async def test_a_rate_at_rest_has_no_more_than_its_burst(hands: Hands, jobs: JobKit, takers: Takers) -> None:
    whole = whole_job(RATE)
    await takers.ask(0)
    await whole.enqueue()
    assert await hands.all() == []
    jobs.travel(STEP)
    await takers.ask(1)
    await takers.leave(1)
    jobs.travel(10 * STEP)
    assert len(await hands.all()) == 1
    await takers.ask(2)
    assert takers.passed == [0]


async def test_a_start_kept_for_a_job_that_is_gone_is_for_others(
    queue: EngineQueue, hands: Hands, jobs: JobKit, takers: Takers
) -> None:
    await takers.ask(0)
    job = await whole_job(RATE).enqueue()
    assert await hands.all() == []
    jobs.travel(STEP)
    await takers.ask(1)
    assert takers.passed == [0]
    stored = await queue.job(job.key)
    assert stored is not None
    await queue.abort(stored, "not needed")
    await takers.ask(1)
    assert takers.passed == [0, 1]


async def test_a_start_kept_for_a_job_that_waits_for_another_limit_is_for_others(
    hands: Hands, jobs: JobKit, takers: Takers
) -> None:
    whole = whole_job(RATE, Concurrency(1, name="one"))
    await whole.enqueue(n=1)
    [first] = await hands.all()
    await whole.enqueue(n=2)
    await takers.ask(0)
    jobs.travel(STEP)
    assert await hands.all() == []
    await takers.ask(0)
    assert takers.passed == [0]
    await hands.finish(first)
    jobs.travel(STEP)
    assert names(await hands.all()) == [2]


@pytest.mark.parametrize(("limit", "burst"), [(1, 1), (3, 1), (2, 3)])
async def test_no_more_start_in_a_time_than_the_limit_and_its_burst(
    hands: Hands, jobs: JobKit, limit: int, burst: int
) -> None:
    rate = Rate("api", limit, per=STEP, burst=burst)
    chance = random.Random(limit * 10 + burst)  # noqa: S311  (it is to be repeated)
    takers = Takers(hands, await leased(hands, taker(rate), 25), rate)
    whole = whole_job(rate)
    now, starts, last = 0.0, list[float](), 0
    for _ in range(25):
        seconds = chance.choice([0.0, 0.2, 0.8, 1.0, 2.0]) * STEP / limit
        jobs.travel(seconds)
        now += seconds
        if chance.random() < 0.4:
            await whole.options(priority=chance.choice(["high", "normal", "low"])).enqueue()
        if chance.random() < 0.3:
            starts += [now] * len(await hands.lease(chance.randint(1, 3)))
        if last - len(takers.passed) < 3:
            last += 1
        before = len(takers.passed)
        await takers.ask(*(each for each in range(last) if each not in takers.passed))
        starts += [now] * (len(takers.passed) - before)
    assert len(starts) > limit + burst
    for first, beyond in zip(starts, starts[limit + burst :], strict=False):
        assert beyond - first >= STEP - 1


async def test_a_repeated_call_uses_one_start(hands: Hands, jobs: JobKit, takers: Takers) -> None:
    await takers.ask(0)
    await takers.ask(0)
    jobs.travel(STEP)
    await takers.ask(0, 1)
    assert takers.passed == [0, 1]


async def test_a_start_that_was_not_used_is_for_others(hands: Hands, jobs: JobKit, takers: Takers) -> None:
    await takers.ask(0)
    await takers.leave(0)
    await takers.leave(0)
    await takers.ask(1)
    await takers.ask(2, 3)
    jobs.travel(STEP)
    # 2 has its turn when 3 asks.
    await takers.ask(3)
    await takers.leave(2)
    await takers.ask(3, 4)
    assert takers.passed == [0, 1, 3]


async def test_a_start_that_was_used_is_not_returned(hands: Hands, takers: Takers) -> None:
    await takers.ask(0)
    await takers.leave(0, used=True)
    await takers.ask(1)
    assert takers.passed == [0]


async def test_a_start_is_not_returned_after_its_time(hands: Hands, jobs: JobKit, takers: Takers) -> None:
    await takers.ask(0)
    jobs.travel(STEP)
    await takers.ask(1)
    await takers.leave(0)
    await takers.ask(2)
    assert takers.passed == [0, 1]


async def test_a_job_that_ended_returns_the_start_that_it_did_not_use(hands: Hands, takers: Takers) -> None:
    await takers.ask(0)
    await hands.finish(takers._jobs[0])
    await takers.leave(0)
    await takers.ask(1)
    assert takers.passed == [0, 1]


async def test_a_call_that_is_cancelled_before_its_answer_uses_no_start(
    queue: EngineQueue, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job] = await leased(hands, taker(RATE), 1)
    real, granted, answer = queue.scripts.run, asyncio.Event(), asyncio.Event()

    async def run(name: str, *args: Any, again: bool = True) -> Any:
        result = await real(name, *args, again=again)
        if args[-1] == "" and not answer.is_set():
            granted.set()
            await answer.wait()
        return result

    monkeypatch.setattr(queue.scripts, "run", run)
    part = _start(job)
    await granted.wait()
    part.cancel()
    await asyncio.wait([part])
    answer.set()
    with running(job):

        async def enters() -> bool:
            try:
                async with limit("api").take(timeout=0):
                    return True
            except LimitTimeout:
                return False

        await eventually(enters)


def _start(job: EngineJob) -> "asyncio.Task[None]":
    async def once() -> None:
        async with limit("api").take():
            pass

    with running(job):
        return asyncio.create_task(once())


async def test_a_changed_rate_wakes_those_that_wait(queue: EngineQueue, queues: Queues, hands: Hands) -> None:
    works = await leased(hands, taker(Rate("api", 1, per=1000.0)), 3)
    async with asyncio.timeout(60):
        await _start(works[0])
        late = [_start(job) for job in works[1:]]
        await waiting(queue, 2, GATE)
        await Limits(queues).change("api", per=0.001)
        await asyncio.gather(*late)


async def test_the_next_in_line_learns_that_one_before_it_has_left(
    queue: EngineQueue, hands: Hands, takers: Takers
) -> None:
    await takers.ask(0, 1, 2)
    async with queue.redis.pubsub() as channel:
        await channel.subscribe(queue.namespace(f"flow:take:{token(2)}"))
        await _message(channel)
        await takers.leave(1)
        assert 0 < float(await _message(channel)) <= STEP


async def test_the_end_of_a_job_tells_the_next_in_line(queue: EngineQueue, hands: Hands, takers: Takers) -> None:
    await takers.ask(0, 1, 2)
    async with queue.redis.pubsub() as channel:
        await channel.subscribe(queue.namespace(f"flow:take:{token(2)}"))
        await _message(channel)
        await hands.finish(takers._jobs[1])
        assert 0 < float(await _message(channel)) <= STEP


async def _message(channel: PubSub) -> bytes:
    async with asyncio.timeout(60):
        while True:
            message = await channel.get_message(timeout=1.0)
            if message is not None:
                return message["data"] if message["type"] == "message" else b""


async def test_a_start_that_is_kept_during_a_lease_is_used_in_it(hands: Hands, jobs: JobKit) -> None:
    rate, other = Rate("api", 1, per=STEP, burst=2), Concurrency(1, name="other")
    [holder] = await leased(hands, taker(other), 1)
    assert await hands.take(holder, "other\t", token(0), other.rule) == "granted"
    whole = whole_job(rate, Concurrency(1, by="n", name="one of each"))
    for n in range(5):
        await whole.enqueue(n=n)
    assert names(await hands.all()) == [0, 1]
    jobs.travel(2 * STEP)
    # The first uses the start that is kept for it, and the next one is kept for the second.
    assert names(await hands.lease(2)) == [2, 3]
