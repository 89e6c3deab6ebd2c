"""The test kit and jobs with limits."""

import pytest
from saq.job import Status

from saqueduct import Concurrency, Context, EngineQueue, Rate, limit, task
from saqueduct.testing import Drained, JobKit

pytestmark = pytest.mark.usefixtures("registry")


@pytest.mark.parametrize("by", [(), "key"])
async def test_a_job_runs_alone_also_when_others_wait_for_limits(
    jobs: JobKit, queue: EngineQueue, by: str | tuple[str, ...]
) -> None:
    ran = []

    @task(limits=(Concurrency(1, by=by),))
    async def work(ctx: Context, *, key: int) -> None:
        ran.append(key)

    for key in range(3):
        await work.enqueue(key=key)
    assert (await jobs.run(work, key=9)).status is Status.COMPLETE
    assert ran == [9]
    with jobs.mode("inline"):
        await work.enqueue(key=8)
    assert ran == [9, 8]
    assert len(jobs.all_enqueued(work)) == 3
    assert await jobs.drain() == Drained(complete=3)
    assert ran == [9, 8, 0, 1, 2]
    assert await queue.redis.exists(queue.namespace("flow:lanes")) == 0


async def test_a_job_that_runs_alone_waits_for_no_rate(jobs: JobKit) -> None:
    @task(limits=(Rate("slow", 1, per=1000),))
    async def work(ctx: Context) -> None: ...

    for _ in range(2):
        assert (await jobs.run(work)).status is Status.COMPLETE


async def test_a_job_that_runs_alone_takes_its_limits_at_once(jobs: JobKit) -> None:
    @task(takes=(Rate("slow", 1, per=1000),))
    async def work(ctx: Context) -> None:
        async with limit("slow").take(), limit("slow").take():
            pass

    assert (await jobs.run(work)).status is Status.COMPLETE


async def test_drain_advances_the_clock_to_the_next_start_of_a_rate(jobs: JobKit) -> None:
    @task(limits=(Rate("slow", 1, per=1000),))
    async def work(ctx: Context) -> None: ...

    @task
    async def late(ctx: Context) -> None: ...

    for _ in range(3):
        await work.enqueue()
    await late.options(delay=50).enqueue()
    assert await jobs.drain(scheduled=False, timeout=40) == Drained(complete=1)
    assert await jobs.drain(timeout=40) == Drained(complete=3)
