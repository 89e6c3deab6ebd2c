"""Why a job waits for its limits."""

from typing import Any

import pytest

from saqueduct import Concurrency, Context, EngineQueue, Rate, TaskRegistry, task
from saqueduct.common import clock
from saqueduct.queue.limit_waits import LimitWait, LimitWaits
from tests.flow.hands import Hands

pytestmark = pytest.mark.usefixtures("registry")


def limited(*limits: Concurrency | Rate, **options: Any) -> Any:
    @task(name="work", limits=limits, **options)
    async def work(ctx: Context, *, n: int = 0, key: Any = 0) -> None: ...

    return work


async def waits(queue: EngineQueue, key: str) -> list[LimitWait]:
    job = await queue.job(key)
    assert job is not None
    return await LimitWaits(queue.core, queue.tasks).of(job)


async def test_the_holders_and_the_place_in_the_line_are_named(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1, by="key"))
    first, _, last = [await work.enqueue(n=n, key="a1") for n in range(3)]
    await hands.all()
    [wait] = await waits(queue, last.key)
    assert (wait.limit, wait.key, wait.open, wait.running) == ("work", 'key = "a1"', False, 1)
    assert (wait.holders, wait.ahead, wait.others, wait.expected_at) == ((first.key,), 1, 0, None)
    assert wait.text == f'limit work for key = "a1": 1 at once, 1 running ({first.key}), 1 job before this one'
    assert await waits(queue, first.key) == []


async def test_a_rate_names_the_expected_start(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Rate("slow", 1, per=100))
    jobs = [await work.enqueue(n=n) for n in range(4)]
    await hands.all()
    [wait] = await waits(queue, jobs[3].key)
    assert wait.expected_at is not None
    assert 250 < wait.expected_at - clock.time_now() <= 301
    assert (wait.key, wait.ahead, wait.running) == ("", 2, None)
    assert "1 in 100 s, burst 1, 2 jobs before this one, may start in about" in wait.text


async def test_other_lines_take_turns(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Rate("slow", 1, per=100), Concurrency(5, by="key"))
    jobs = [await work.enqueue(key=key) for key in (1, 2, 3)]
    await hands.all()
    [wait, passed] = await waits(queue, jobs[2].key)
    assert (wait.limit, wait.open, wait.others) == ("slow", False, 1)
    assert (passed.limit, passed.open) == ("work", True)
    assert wait.expected_at is not None
    assert 150 < wait.expected_at - clock.time_now() <= 201


async def test_a_closed_limit_says_so(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1))
    await work.enqueue()
    [job] = await hands.all()
    await hands.throttle(job, "work", 30)
    [wait] = await waits(queue, job.key)
    assert wait.closed
    assert "a job has closed it, no job before this one, may start in about" in wait.text


async def test_a_redacted_argument_is_not_shown(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1, by="key"), redact=("key",))
    _, second = [await work.enqueue(key=4711) for _ in range(2)]
    await hands.all()
    [wait] = await waits(queue, second.key)
    assert wait.key == "[redacted]"


async def test_a_key_of_other_code_is_not_shown(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1, by="key"))
    _, second = [await work.enqueue(n=3, key=4711) for _ in range(2)]
    await hands.all()
    job = await queue.job(second.key)
    assert job is not None
    # A later deploy redacts it, and counts by another argument.
    queue.tasks = limited_later()
    [wait] = await LimitWaits(queue.core, queue.tasks).of(job)
    assert wait.key == "[redacted]"


def limited_later() -> TaskRegistry:
    registry = TaskRegistry()

    @registry.task(name="work", limits=(Concurrency(1, by="n"),), redact=("key",))
    async def work(ctx: Context, *, n: int = 0, key: Any = 0) -> None: ...

    return registry


async def test_a_job_that_is_not_due_or_has_no_limits_waits_for_none(queue: EngineQueue) -> None:
    work = limited(Concurrency(1))
    delayed = await work.options(delay=60).enqueue()

    @task
    async def free(ctx: Context) -> None: ...

    assert await waits(queue, delayed.key) == []
    assert await waits(queue, (await free.enqueue()).key) == []
