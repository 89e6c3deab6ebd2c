"""Throttled: a job closes one of its limits for a time."""

from typing import Any

import pytest
from saq.job import Status

from saqueduct import Concurrency, Context, EngineQueue, Rate, TaskRegistry, Throttled, enqueue_many, task
from saqueduct.common import clock
from saqueduct.telemetry.counters import JobCounters
from saqueduct.testing import Drained, JobKit
from saqueduct.worker.throttling import LEAST, closed_by
from tests.flow.hands import Hands, names

pytestmark = pytest.mark.usefixtures("registry")


def limited(*limits: Concurrency | Rate, **options: Any) -> Any:
    @task(limits=limits, **options)
    async def work(ctx: Context, *, n: int = 0, key: int = 0) -> int:
        return n

    return work


def throttled(times: int, seconds: float = 30, **options: Any) -> Any:
    """A task whose first attempts are throttled."""
    left = times

    @task(limits=(Concurrency(5, name="stripe", by="key"),), **options)
    async def work(ctx: Context, *, key: int = 0) -> str:
        nonlocal left
        left -= 1
        if left >= 0:
            raise Throttled("stripe", retry_after=seconds)
        return "done"

    return work


@pytest.mark.parametrize("rule", [Concurrency(5, by="key", name="api"), Rate("api", 100, burst=100, by="key")])
async def test_it_closes_the_key_for_all_jobs_and_no_other(
    queue: EngineQueue, hands: Hands, rule: Concurrency | Rate
) -> None:
    work = limited(rule)
    for n, key in enumerate([1, 2]):
        await work.enqueue(n=n, key=key)
    first, _ = await hands.all()
    await hands.throttle(first, "api", 30)
    for n, key in enumerate([1, 2], start=2):
        await work.enqueue(n=n, key=key)
    assert names(await hands.all()) == [3]
    assert hands.due is not None
    assert 20 < hands.due <= 30
    with clock.shifted(29):
        assert await hands.all() == []
    with clock.shifted(30):
        assert names(await hands.all()) == [0, 2]
    assert await queue.redis.exists(queue.namespace("flow:closed")) == 0


async def test_a_key_that_is_closed_for_longer_stays_closed(hands: Hands) -> None:
    work = limited(Concurrency(5, name="api"))
    for n in range(2):
        await work.enqueue(n=n)
    first, second = await hands.all()
    await hands.throttle(first, "api", 60)
    await hands.throttle(second, "api", 10)
    with clock.shifted(50):
        assert await hands.all() == []
    with clock.shifted(61):
        assert sorted(names(await hands.all())) == [0, 1]


async def test_the_place_of_an_ordered_limit_does_not_pass_a_closed_key(hands: Hands) -> None:
    work = limited(Concurrency(1, by="key", ordered=True, name="api"))
    for n in range(2):
        await work.enqueue(n=n)
    [first] = await hands.all()
    await hands.throttle(first, "api", 30)
    assert await hands.all() == []
    with clock.shifted(30):
        [again] = await hands.all()
        await hands.finish(again)
        assert names([again, *await hands.all()]) == [0, 1]


async def test_jobs_that_are_throttled_together_keep_their_order(hands: Hands) -> None:
    work = limited(Concurrency(5, name="api"))
    for n in range(8):
        await work.enqueue(n=n)
    jobs = await hands.lease(3)
    await hands.throttle_all(jobs, "api", 30)
    with clock.shifted(30):
        assert names(await hands.all()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("limits", [(), (Concurrency(5, name="api"),)], ids=["plain", "limited"])
async def test_jobs_that_go_back_together_keep_their_order(hands: Hands, limits: tuple[Concurrency, ...]) -> None:
    work = limited(*limits)
    for n in range(8):
        await work.enqueue(n=n)
    jobs = await hands.lease(5)
    await hands.finish(jobs[1])
    await hands.release(*jobs[2:], jobs[0])
    assert names(await hands.lease(5)) == [2, 3, 4, 0, 5]


async def test_the_slots_of_other_limits_are_free_meanwhile(hands: Hands) -> None:
    work = limited(Concurrency(5, by="key", name="api"), Concurrency(1, name="all"))
    for n, key in enumerate([1, 2]):
        await work.enqueue(n=n, key=key)
    [first] = await hands.all()
    await hands.throttle(first, "api", 30)
    assert names(await hands.all()) == [1]


async def test_it_costs_no_attempt(jobs: JobKit) -> None:
    work = throttled(3, retries=1)
    handle = await work.enqueue()
    assert await jobs.drain() == Drained(complete=1)
    assert await handle.result() == "done"


async def test_it_is_counted_as_throttled(jobs: JobKit, queue: EngineQueue) -> None:
    counters = queue.core.meter = JobCounters(queue.name)
    await throttled(2).enqueue()
    await jobs.drain()
    [of_task] = counters.tasks.values()
    assert of_task.attempts_by_outcome() == {"complete": 1, "throttled": 2}


async def test_the_job_says_why_it_waits(jobs: JobKit, queue: EngineQueue) -> None:
    handle = await throttled(1).enqueue()
    await jobs.drain(scheduled=False)
    job = await queue.job(handle.key)
    assert job is not None
    assert (job.status, job.attempts) == (Status.QUEUED, 0)
    assert job.error == "throttled: the limit 'stripe' is closed for 30 s"


async def test_in_a_group_of_errors_the_longest_counts(jobs: JobKit, hands: Hands) -> None:
    @task(limits=(Concurrency(5, name="one"), Concurrency(5, name="two")))
    async def work(ctx: Context) -> None:
        raise ExceptionGroup("both", [Throttled("one", 3), Throttled("two", 40), ValueError("other")])

    await work.enqueue()
    await jobs.drain(scheduled=False)
    await hands.all()
    assert hands.due is not None
    assert 20 < hands.due <= 40


async def test_a_job_that_is_throttled_until_it_expires_ends(jobs: JobKit) -> None:
    handle = await throttled(1000).options(expires=100).enqueue()
    assert await jobs.drain() == Drained(aborted=1)
    assert await handle.status() is Status.ABORTED


async def test_after_the_limit_it_counts_as_a_retry(jobs: JobKit, queue: EngineQueue) -> None:
    work = throttled(1000, seconds=60 * 60 * 10, retries=2)
    handle = await work.enqueue()
    assert await jobs.drain() == Drained(failed=1, retried=1)
    job = await queue.job(handle.key)
    assert job is not None
    assert "the limit 'stripe' is closed for 36000 s" in (job.error or "")


async def test_it_fails_a_job_that_runs_at_most_once(jobs: JobKit) -> None:
    await throttled(1, at_most_once=True).enqueue()
    assert await jobs.drain() == Drained(failed=1)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        pytest.param(
            (Concurrency(2, name="stripe"),), "the job has no limit 'strip'; did you mean 'stripe'", id="near"
        ),
        pytest.param((Concurrency(2),), "the job has no limit 'strip'; there are: 'work'", id="far"),
        pytest.param((), "the job has no limit 'strip'; there are: none", id="none"),
    ],
)
async def test_a_limit_that_the_job_does_not_have_is_an_error(
    jobs: JobKit, queue: EngineQueue, limits: Any, says: str
) -> None:
    @task(limits=limits, retries=1)
    async def work(ctx: Context) -> None:
        raise Throttled("strip", retry_after=30)

    handle = await work.enqueue()
    assert await jobs.drain() == Drained(failed=1)
    job = await queue.job(handle.key)
    assert job is not None
    assert says in (job.error or "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(("stripe", -1), "retry_after must be at least 0", id="negative"),
        pytest.param(("stripe", 86_401), "retry_after must be at most 86,400", id="too long"),
        pytest.param(("stripe", float("nan")), "retry_after must be at least 0", id="nan"),
        pytest.param(("stripe", "30"), "retry_after must be a number", id="text"),
        pytest.param(("stripe", True), "retry_after must be a number", id="true"),
        pytest.param(("", 30), "takes the name of a limit", id="no name"),
        pytest.param((Concurrency(1), 30), "takes the name of a limit", id="a limit"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Throttled(*arguments)


def test_no_time_is_a_short_time() -> None:
    assert closed_by(Throttled("api", 0), {"api": "1"}) == ("api\t1", LEAST)


async def test_the_kit_runs_a_job_alone_to_its_end(jobs: JobKit) -> None:
    work = throttled(2, retries=1)
    other = await work.enqueue(key=3)
    job = await jobs.run(work, key=3)
    assert (job.status, job.result) == (Status.COMPLETE, "done")
    assert await other.status() is Status.QUEUED
    assert await jobs.drain() == Drained(complete=1)


# Attempts that do not go on close the limit too


async def test_a_job_that_runs_at_most_once_closes_the_limit(jobs: JobKit, hands: Hands) -> None:
    work = throttled(1, at_most_once=True)
    await work.enqueue()
    await jobs.drain()
    await work.enqueue()
    assert await hands.all() == []


async def test_a_job_that_fails_after_the_limit_of_time_closes_the_limit(jobs: JobKit, hands: Hands) -> None:
    work = throttled(1000)
    await work.enqueue()
    await jobs.drain(scheduled=False)
    with clock.shifted(90_000):
        assert await jobs.drain(scheduled=False) == Drained(failed=1)
        await work.enqueue()
        assert await hands.all() == []


async def test_a_job_that_is_aborted_meanwhile_closes_the_limit(hands: Hands) -> None:
    work = limited(Concurrency(5, by="key", name="api"))
    handle = await work.enqueue()
    [job] = await hands.all()
    await handle.abort()
    with pytest.raises(AssertionError, match="abort"):
        await hands.throttle(job, "api", 30)
    await work.enqueue()
    assert await hands.all() == []


async def test_a_retry_by_hand_is_throttled_at_no_cost_again(jobs: JobKit, queue: EngineQueue) -> None:
    handle = await throttled(1000).enqueue()
    await jobs.drain(scheduled=False)
    with clock.shifted(90_000):
        assert await jobs.drain(scheduled=False) == Drained(failed=1)
        await queue.retry_by_hand(await handle.refresh())
        assert await jobs.drain(scheduled=False) == Drained()
        assert await handle.status() is Status.QUEUED


@pytest.mark.parametrize("before", [(), (Concurrency(9, name="other"),)], ids=["no limit", "another limit"])
async def test_a_job_from_before_its_task_had_the_limit_closes_it(
    jobs: JobKit, hands: Hands, queue: EngineQueue, before: Any
) -> None:
    old = TaskRegistry()
    call = old.task(name="work", limits=before)(_work).bind()
    [handle] = await enqueue_many([call])
    work = throttled(1, retries=1)
    assert await jobs.drain(scheduled=False) == Drained()
    await work.enqueue()
    assert await hands.all() == []
    assert await jobs.drain() == Drained(complete=2)
    assert await handle.result(timeout=10) == "done"


async def _work(ctx: Context, *, key: int = 0) -> str:
    return ""


async def test_tenants_take_turns_when_the_limit_opens_again(hands: Hands) -> None:
    work = limited(Concurrency(10, name="api"), fair="key")
    for n in range(10):
        await work.enqueue(n=n)
    for key in (1, 2):
        await work.enqueue(n=key * 100, key=key)
    first = (await hands.lease(1))[0]
    await hands.throttle(first, "api", 30)
    assert await hands.all() == []
    with clock.shifted(31):
        assert {100, 200} < set(names(await hands.all(4)))
