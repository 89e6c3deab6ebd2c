"""Places at limits that jobs give back, and the answers with which they enter a block, also while Redis is away."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from saqueduct import Concurrency, Context, EngineQueue, LimitNotTaken, LimitTimeout, Rate, limit, task
from saqueduct.broker.outage import Outage
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually
from tests.flow.hands import Hands
from tests.flow.test_taking import ONE, Part, leased, nothing_is_left, running, taker, waiting

# Jobs that wait have to be woken.
pytestmark = [pytest.mark.usefixtures("registry"), pytest.mark.timings(limit_look=1000.0)]

ONE_IN_ALL = Rate("api", 1, per=1000)


@contextmanager
def giving_fails(queue: EngineQueue) -> Iterator[list[Any]]:
    """No call that gives a place back has an answer; all others have one."""
    real, calls = queue.scripts.run, []

    async def run(name: str, *args: Any, again: bool = True) -> Any:
        if name == "take" and args[-1]:
            calls.append(args)
            raise RedisConnectionError("refused")
        return await real(name, *args, again=again)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue.scripts, "run", run)
        yield calls


quick_retries = pytest.mark.timings(longest_redis_pause=0.01)


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed once is not repeated in the background."""

    async def pause(*_: Any) -> NoReturn:
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")

    monkeypatch.setattr(Outage, "pause", pause)


@quick_retries
async def test_a_place_is_given_back_once_redis_answers(queue: EngineQueue, hands: Hands) -> None:
    first, second = [Part(job) for job in await leased(hands, taker(ONE), 2)]
    await first.has_it()
    await waiting(queue, 1)
    with giving_fails(queue) as calls:
        await first.end()

        async def repeated() -> bool:
            return len(calls) > 2

        await eventually(repeated)
        assert not second.inside.is_set()
    await second.has_it()
    await second.end()
    await nothing_is_left(queue)
    assert not queue.core.give_backs.failed


@pytest.mark.usefixtures("no_retries")
async def test_a_job_does_not_wait_for_its_own_place(queue: EngineQueue, hands: Hands) -> None:
    [job] = await leased(hands, taker(ONE), 1)
    with running(job):
        with giving_fails(queue):
            async with limit("api", account=1).take():
                pass
        async with limit("api", account=1).take(timeout=0):
            pass
    await nothing_is_left(queue)


async def test_a_job_that_has_given_up_waiting_is_not_in_its_own_way(queue: EngineQueue, hands: Hands) -> None:
    holder, other = await leased(hands, taker(ONE), 2)
    one = Part(holder)
    await one.has_it()
    with running(other):
        with pytest.raises(LimitTimeout):
            async with limit("api", account=1).take(timeout=0):
                pass
        await hands.finish(holder)
        async with limit("api", account=1).take(timeout=0):
            pass
    await one.end()
    await nothing_is_left(queue)


@quick_retries
async def test_the_end_of_the_attempt_ends_the_retries(jobs: JobKit, queue: EngineQueue) -> None:
    @task(takes=(Concurrency(1, name="api"),))
    async def work(ctx: Context) -> None:
        async with limit("api").take():
            pass
        assert queue.core.give_backs.failed

    handle = await work.enqueue()
    with giving_fails(queue):
        async with jobs.working():
            await handle.result(timeout=60)

            async def ended() -> bool:
                return not queue.core.give_backs.failed

            await eventually(ended)
            await nothing_is_left(queue, "api\t")


@pytest.mark.parametrize(
    ("answers", "gives"),
    [
        (["free"], 0),
        (["granted"], 1),
        (["0.001", "free"], 0),
        (["0.001", "granted"], 1),
        (["0.001", "", "0.001", "free"], 0),
    ],
    ids=lambda value: "-".join(each or "wait" for each in value) if isinstance(value, list) else None,
)
@pytest.mark.timings(limit_look=0.01)
async def test_a_job_enters_with_each_answer(
    queue: EngineQueue, hands: Hands, monkeypatch: pytest.MonkeyPatch, answers: list[str], gives: int
) -> None:
    [job] = await leased(hands, taker(ONE_IN_ALL), 1)
    given = _answers(queue, monkeypatch, answers)
    with running(job):
        async with limit("api").take():
            assert given == []
    assert len(given) == gives


@pytest.mark.parametrize(("answer", "reason"), [("lost", "was lost"), ("own", "as long as it runs")])
async def test_a_job_that_waits_may_be_refused(
    queue: EngineQueue, hands: Hands, monkeypatch: pytest.MonkeyPatch, answer: str, reason: str
) -> None:
    [job] = await leased(hands, taker(ONE_IN_ALL), 1)
    _answers(queue, monkeypatch, ["0.001", answer])
    with running(job), pytest.raises(LimitNotTaken, match=reason):
        async with limit("api").take():
            pass


def _answers(queue: EngineQueue, monkeypatch: pytest.MonkeyPatch, answers: Sequence[str]) -> list[Any]:
    """Let calls that take have these answers; returns the calls that give back."""
    left, given = iter(answers), []

    async def run(name: str, *args: Any, again: bool = True) -> bytes:
        if args[-1]:
            given.append(args)
            return b""
        return next(left).encode()

    monkeypatch.setattr(queue.scripts, "run", run)
    return given


async def test_a_timeout_of_0_enters_what_is_free(queue: EngineQueue, hands: Hands) -> None:
    [job] = await leased(hands, taker(Concurrency(1, name="api")), 1)
    with running(job):
        async with limit("api").take(timeout=0):
            with pytest.raises(LimitTimeout, match="within 0 s"):
                async with limit("api").take(timeout=0):
                    pass
        async with limit("api").take(timeout=0):
            pass
    await nothing_is_left(queue, "api\t")


async def test_a_timeout_of_0_uses_no_start_of_a_rate_in_vain(hands: Hands) -> None:
    [job] = await leased(hands, taker(Rate("api", 1, per=1000, burst=3)), 1)
    with running(job):
        for _ in range(3):
            async with limit("api").take(timeout=0):
                pass
        with pytest.raises(LimitTimeout):
            async with limit("api").take(timeout=0):
                pass


async def test_the_time_of_the_first_answer_is_not_part_of_the_timeout(hands: Hands) -> None:
    [job] = await leased(hands, taker(ONE_IN_ALL), 1)
    with running(job):
        async with limit("api").take(timeout=1e-9):
            pass


async def test_a_place_that_is_granted_after_the_wait_is_given_back(
    queue: EngineQueue, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, other = await leased(hands, taker(ONE), 2)
    one = Part(holder)
    await one.has_it()
    real, calls, late = queue.scripts.run, 0, asyncio.Event()

    async def run(name: str, *args: Any, again: bool = True) -> Any:
        nonlocal calls
        if name == "take" and args[0] == other.key:
            calls += 1
            if calls == 2:
                await late.wait()
        return await real(name, *args, again=again)

    monkeypatch.setattr(queue.scripts, "run", run)
    two = Part(other)

    async def asks_again() -> bool:
        return calls == 2

    await eventually(asks_again)
    await two.cancel()
    await one.end()
    assert await queue.redis.scard(queue.namespace("flow:held:api\t1")) == 1
    late.set()
    await nothing_is_left(queue)
