"""Unique(on_conflict="cancel"): the newest job wins, and two of them never run at once."""

import asyncio
from typing import Any

import pytest
from saq.job import Status

from saqueduct import Concurrency, Context, EngineQueue, JobAborted, RegistrationError, Unique, enqueue_many, task
from saqueduct.common import clock
from saqueduct.testing import Drained, JobKit
from saqueduct.testing.incomplete import IncompleteJobs
from tests.fixtures.poll import eventually
from tests.flow.hands import Hands, names

pytestmark = pytest.mark.usefixtures("registry")

LONGEST = 392
"""Characters of the name of such a task."""

CANCEL = Unique(by=("doc",), on_conflict="cancel")


def newest(**options: Any) -> Any:
    """A task whose newest job of each `doc` wins."""

    @task(unique=CANCEL, **options)
    async def render(ctx: Context, *, doc: int = 0, n: int = 0) -> int:
        return n

    return render


@pytest.mark.parametrize(
    "options", [{"period": 5.0}, {"states": ("queued",)}, {"states": ("queued", "active", "complete"), "period": 5.0}]
)
def test_a_period_or_states_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="takes no period and no states"):
        Unique(on_conflict="cancel", **options)


def test_it_is_declared_on_the_task() -> None:
    @task
    async def plain(ctx: Context, *, doc: int) -> None: ...

    with pytest.raises(RegistrationError, match="on the task"):
        plain.options(unique=CANCEL)
    assert newest().options(unique=CANCEL).call_options.unique == CANCEL


async def test_a_waiting_job_is_replaced(hands: Hands, queue: EngineQueue) -> None:
    render = newest()
    first, other = await render.enqueue(n=1), await render.enqueue(doc=1, n=9)
    second = await render.enqueue(n=2)
    assert (second.created, (await first.refresh()).error) == (True, f"replaced by {second.key}")
    assert sorted(names(await hands.all())) == [2, 9]
    assert other.created


async def test_a_running_job_is_aborted_and_the_newest_starts_when_it_has_ended(
    hands: Hands, queue: EngineQueue
) -> None:
    render = newest()
    await render.enqueue(n=1)
    [running] = await hands.all()
    second = await render.enqueue(n=2)
    aborts = queue.namespace("aborting")
    assert await queue.redis.hgetall(aborts) == {
        queue.job_id(running.key).encode(): f"replaced by {second.key}".encode()
    }
    third = await render.enqueue(n=3)
    assert (second.created, third.created) == (True, True)
    assert (await second.refresh()).error == f"replaced by {third.key}"
    assert await hands.all() == []
    running.status = Status.ABORTED
    await hands.finish(running)
    assert names(await hands.all()) == [3]
    assert await queue.redis.hlen(queue.namespace("flow:lanes")) == 1


async def test_workers_abort_the_older_job(jobs: JobKit) -> None:
    bodies, most = set[int](), 0
    begun = asyncio.Event()

    @task(unique=CANCEL, timeout=60)
    async def render(ctx: Context, *, doc: int = 0, n: int) -> int:
        nonlocal most
        bodies.add(n)
        most = max(most, len(bodies))
        begun.set()
        try:
            if n == 1:
                await asyncio.Event().wait()
        finally:
            bodies.discard(n)
        return n

    async with jobs.working():
        first = await render.enqueue(n=1)
        await begun.wait()
        second = await render.enqueue(n=2)
        assert await second.result(timeout=60) == 2
        with pytest.raises(JobAborted, match=f"replaced by {second.key}"):
            await first.result(timeout=60)
    assert most == 1


@pytest.mark.timings(recovery_wait=0.0)
async def test_it_starts_when_the_job_of_a_dead_worker_is_recovered(queue: EngineQueue, hands: Hands) -> None:
    render = newest()
    first = await render.enqueue(n=1)
    await hands.all()
    await hands.die()
    second = await render.enqueue(n=2)
    assert await hands.all() == []
    assert await queue.recover() == [first.id]
    assert (await first.refresh()).error == f"replaced by {second.key}"
    assert names(await hands.all()) == [2]


async def test_a_failed_attempt_of_the_older_job_is_its_last(hands: Hands, queue: EngineQueue) -> None:
    render = newest(retries=5)
    first = await render.enqueue(n=1)
    [running] = await hands.all()
    await render.enqueue(n=2)
    with pytest.raises(AssertionError, match="replaced by"):
        await hands.retry(running)
    assert await hands.all() == []
    assert first.created


async def test_a_job_that_waits_for_its_next_attempt_is_replaced(hands: Hands) -> None:
    render = newest(retries=5)
    first = await render.enqueue(n=1)
    [failed] = await hands.all()
    await hands.retry(failed, 1000)
    second = await render.enqueue(n=2)
    assert (await first.refresh()).error == f"replaced by {second.key}"
    assert names(await hands.all()) == [2]


async def test_a_delayed_newer_job_replaces_at_once(hands: Hands, queue: EngineQueue) -> None:
    render = newest()
    await render.enqueue(n=1)
    later = await render.options(delay=500).enqueue(n=2)
    assert [key for key, _ in await IncompleteJobs(queue).listed()] == [later.key]
    with clock.shifted(600):
        await queue.schedule()
        assert names(await hands.all()) == [2]


async def test_a_running_job_of_the_time_before_the_option_is_waited_for(queue: EngineQueue, hands: Hands) -> None:
    render = newest()
    await enqueue_many([_without_limit(render)])
    [running] = await hands.all()
    await render.enqueue(n=2)
    assert await hands.all() == []
    await hands.finish(running)
    assert names(await hands.all()) == [2]
    assert await queue.redis.exists(queue.namespace("flow:held:render: newest\t0")) == 1


async def test_beside_other_limits_each_waits_for_both(hands: Hands) -> None:
    render = newest(limits=(Concurrency(1),))
    await render.enqueue(n=1)
    [first] = await hands.all()
    await render.enqueue(doc=1, n=2)
    await render.enqueue(n=3)
    assert await hands.all() == []
    await hands.finish(first)
    [second] = await hands.all()
    await hands.finish(second)
    assert sorted(names([second, *await hands.all()])) == [2, 3]


async def test_of_many_at_once_one_is_left(jobs: JobKit) -> None:
    render = newest()
    await asyncio.gather(*(render.enqueue(n=n) for n in range(20)))
    await enqueue_many(render.bind(n=n) for n in range(20, 40))
    assert names(jobs.all_enqueued(render)) == [39]  # type: ignore[arg-type]
    assert await jobs.drain() == Drained(complete=1)


async def test_a_job_that_a_stock_worker_runs_is_aborted_and_has_ended_first(queue: EngineQueue, hands: Hands) -> None:
    render = newest()
    call = _without_limit(render)
    await enqueue_many([call])
    # As a stock worker takes it.
    await queue.redis.lmove(queue.namespace("queued"), queue.namespace("active"))
    waiting = asyncio.create_task(render.enqueue(n=2))

    async def aborting() -> Any:
        job = await queue.job(call.job.key)
        return job if job is not None and job.status is Status.ABORTING else None

    old = await eventually(aborting)
    assert not waiting.done()
    await queue.finish_abort(old)
    second = await waiting
    assert old.error == f"replaced by {second.key}"
    assert names(await hands.all()) == [2]


def _without_limit(task: Any) -> Any:
    """A call whose job has a claim, and no limit, as those of a version before the option."""
    call = task.bind(n=1)
    call.job.meta.clear()
    call.job.limited, call.job.claim = False, Unique(by=("doc",)).claim("render", {"doc": 0})
    return call


def test_a_name_that_is_too_long_is_refused() -> None:
    @task(name="x" * LONGEST, unique=CANCEL)
    async def fits(ctx: Context, *, doc: int) -> None: ...

    with pytest.raises(
        RegistrationError, match=r"at most 392 characters, and 'x+'\.\.\. has 393: give the task a shorter"
    ):

        @task(name="x" * (LONGEST + 1), unique=CANCEL)
        async def long(ctx: Context, *, doc: int) -> None: ...
