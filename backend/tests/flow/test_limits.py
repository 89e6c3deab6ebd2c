"""Limits of tasks: declarations, and what happens to jobs that wait for one."""

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Any, cast

import pytest
from saq.job import Status

from saqueduct import Concurrency, Context, EngineQueue, Rate, RegistrationError, TaskRegistry, task
from saqueduct.common import clock
from saqueduct.queue.listing import JobListing
from saqueduct.queue.maintenance import Maintenance
from saqueduct.tasks.job_meta import LIMITS
from saqueduct.testing import JobKit
from saqueduct.worker.ticker import Ticker
from tests.flow.hands import Hands, names

pytestmark = pytest.mark.usefixtures("registry")


def limited(*limits: Concurrency | Rate, **options: Any) -> Any:
    """A task with limits."""

    @task(limits=limits, **options)
    async def work(ctx: Context, *, n: int = 0, key: int = 0) -> int:
        return n

    return work


async def queued(queue: EngineQueue) -> list[str]:
    return [job.key for job in (await JobListing([queue], "queued").page(lambda _: True, None, 100)).jobs]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda: Concurrency(0), "limit must be at least 1", id="no slot"),
        pytest.param(lambda: Concurrency(1.5), "whole number", id="half a slot"),  # type: ignore[arg-type]
        pytest.param(lambda: Concurrency(True), "whole number", id="true"),
        pytest.param(lambda: Concurrency(1, by=["key"]), 'by="tenant_id"', id="list"),
        pytest.param(lambda: Concurrency(1, by=""), 'by="tenant_id"', id="empty by"),
        pytest.param(lambda: Concurrency(1, name="a\tb"), "control characters", id="tab"),
        pytest.param(lambda: Concurrency(1, bye="key"), "did you mean 'by'", id="misspelled"),  # type: ignore[call-arg]
        pytest.param(lambda: Rate("", 1), "give it a name", id="no name"),
        pytest.param(lambda: Rate("x", 1, per=0), "per must be at least", id="no time"),
        pytest.param(lambda: Rate("x", 1, burst=0), "burst must be at least", id="no burst"),
        pytest.param(lambda: Rate("x", 1_000_000, per=1), "at most 100,000 starts a second", id="too fast"),
    ],
)
def test_an_invalid_limit_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        make()


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        pytest.param(Concurrency(1), "takes a tuple", id="no tuple"),
        pytest.param((3,), r"Concurrency\(\.\.\.\) and Rate", id="number"),
        pytest.param((Concurrency(1), Concurrency(2, by="key")), "give each its own name", id="two without names"),
        pytest.param((Concurrency(1, by="tenant"),), "names tenant.*there are: n, key", id="no such argument"),
    ],
)
def test_limits_that_do_not_fit_the_task_are_refused(limits: Any, says: str) -> None:
    with pytest.raises(RegistrationError, match=says):
        limited(*limits) if isinstance(limits, tuple) else task(limits=limits)(_named("one"))


def _named(name: str) -> Any:
    async def function(ctx: Context, *, n: int = 0, key: int = 0) -> int:
        return n

    function.__name__ = name
    return function


def test_two_limits_with_one_name_must_be_equal() -> None:
    task(limits=(Rate("stripe", 90, per=10, by="key"),))(_named("first"))
    task(limits=(Rate("stripe", 90, per=10, by="n"),))(_named("second"))
    with pytest.raises(RegistrationError, match=r"the limit 'stripe' is .* here, and .* define it once"):
        task(limits=(Rate("stripe", 80, per=10, by="key"),))(_named("third"))


def test_a_limit_applies_in_one_queue() -> None:
    task(limits=(Rate("stripe", 90),))(_named("first"))
    with pytest.raises(RegistrationError, match="used in the queue 'other' here, and in the queue 'default'"):
        task(limits=(Rate("stripe", 90),), queue="other")(_named("second"))


def test_a_call_cannot_take_a_job_with_limits_to_another_queue() -> None:
    work = limited(Concurrency(1))
    with pytest.raises(RegistrationError, match="cannot go to 'other'"):
        work.options(queue="other")


def test_the_key_is_the_same_for_equal_values_and_hides_secrets() -> None:
    @task(limits=(Concurrency(1, by=("amount", "token")),), redact=("token",))
    async def pay(ctx: Context, *, amount: float, token: str) -> None: ...

    [[name, key, rule]] = pay.job({"amount": 2.0, "token": "secret"}).meta[LIMITS]
    assert (name, rule) == ("pay", "c 1")
    assert key.startswith("2,")
    assert "secret" not in key
    assert pay.job({"amount": 2, "token": "secret"}).meta[LIMITS] == [[name, key, rule]]


async def test_jobs_of_a_key_run_in_order_and_do_not_hold_up_others(hands: Hands) -> None:
    work = limited(Concurrency(1, by="key"))
    for n, key in enumerate([1, 1, 2, 1]):
        await work.enqueue(n=n, key=key)
    first, other = await hands.all()
    assert names([first, other]) == [0, 2]
    await hands.finish(first)
    [second] = await hands.all()
    await hands.finish(second, other)
    [third] = await hands.all()
    assert names([second, third]) == [1, 3]


async def test_a_rate_opens_by_itself(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Rate("slow", 1, per=100))
    for n in range(2):
        await work.enqueue(n=n)
    assert names(await hands.all()) == [0]
    assert hands.due is not None
    assert 90 < hands.due <= 100
    with clock.shifted(100):
        assert await queue.schedule() == []
        assert names(await hands.all()) == [1]


async def test_a_job_takes_all_its_limits_or_none(hands: Hands) -> None:
    gate = Rate("each", 1, per=100, by="key")
    work = limited(gate, Concurrency(1, name="all"))
    for n, key in enumerate([1, 1, 2]):
        await work.enqueue(n=n, key=key)
    [first] = await hands.all()
    assert names([first]) == [0]
    await hands.finish(first)
    # The second waits for its rate, and has not taken the slot that the third needs.
    assert names(await hands.all()) == [2]


async def test_a_delayed_retry_lets_others_of_its_key_pass(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1, by="key"))
    for n in range(2):
        await work.enqueue(n=n)
    [first] = await hands.all()
    await hands.retry(first, 60)
    assert names(await hands.all()) == [1]


async def test_an_ordered_limit_waits_for_the_retry(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1, by="key", ordered=True))
    for n in range(2):
        await work.enqueue(n=n)
    [first] = await hands.all()
    await hands.retry(first, 60)
    assert await hands.all() == []
    with clock.shifted(60):
        await queue.schedule()
        [again] = await hands.all()
        assert again.key == first.key
        await hands.finish(again)
        assert names(await hands.all()) == [1]


async def test_an_abort_of_a_job_that_waits_for_its_retry_releases_its_slot(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1, by="key", ordered=True))
    one, two = [await work.enqueue(n=n) for n in range(2)]
    [first] = await hands.all()
    await hands.retry(first, 60)
    await one.abort()
    assert [job.key for job in await hands.all()] == [two.key]


async def test_jobs_that_wait_for_a_limit_are_queued(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1))
    handles = [await work.enqueue(n=n) for n in range(3)]
    await hands.all()
    state = await queue.state()
    assert (state.queued, state.active, state.backlog) == (2, 1, 3)
    # They wait for no worker.
    assert state.latency == 0.0
    assert sorted(await queued(queue)) == sorted(handle.key for handle in handles[1:])
    assert await handles[1].status() is Status.QUEUED


async def test_the_pages_of_the_list_meet_in_lanes(queue: EngineQueue) -> None:
    work = limited(Concurrency(1, by="key"))
    queue.reader.at_once = 3
    expected = {(await work.enqueue(n=n, key=n % 3)).key for n in range(7)}
    seen: list[str] = []
    cursor = None
    while True:
        page = await JobListing([queue], "queued").page(lambda _: True, cursor, 2)
        seen += [job.key for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
    assert set(seen) == expected
    assert len(seen) == len(expected)


async def test_an_expired_job_takes_no_start_of_a_rate(hands: Hands) -> None:
    work = limited(Rate("slow", 1, per=1000))
    await work.options(expires=10).enqueue(n=0)
    await work.enqueue(n=1)
    with clock.shifted(20):
        assert names(await hands.all()) == [0, 1]


@pytest.mark.timings(recovery_wait=0.0)
async def test_an_expired_job_that_its_worker_could_not_end_takes_its_limits_when_it_runs(
    queue: EngineQueue, hands: Hands
) -> None:
    work = limited(Rate("slow", 1, per=1000))
    await work.options(expires=10).enqueue(n=0)
    await work.enqueue(n=1)
    with clock.shifted(20):
        await hands.lease(1)
        await hands.die()
        # It counts as begun, and has no expiry any more.
        await queue.recover()
        assert len(await hands.all()) == 1


@pytest.mark.timings(recovery_wait=0.0)
async def test_a_job_of_a_dead_worker_keeps_its_place_and_its_limit(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1))
    for n in range(2):
        await work.enqueue(n=n)
    [first] = await hands.all()
    await hands.die()
    other = Hands(queue, "other")
    assert await other.all() == []
    assert await queue.recover() == [first.id]
    assert names(await other.all()) == [0]


async def test_a_pause_keeps_lanes(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1))
    await work.enqueue(n=0)
    await queue.pause()
    assert await hands.all() == []
    await queue.resume()
    assert names(await hands.all()) == [0]


async def test_a_job_whose_data_is_gone_leaves_its_lane(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1))
    gone, other = await work.enqueue(n=0), await work.enqueue(n=1)
    await queue.redis.delete(gone.id)
    assert await hands.all() == []
    # It has woken a worker for the next one.
    assert await queue.redis.llen(queue.namespace("queued")) == 1
    assert [job.key for job in await hands.all()] == [other.key]


async def test_maintenance_removes_a_job_whose_data_is_gone(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1))
    running = await work.enqueue(n=0)
    await hands.all()
    gone = await work.enqueue(n=1)
    await queue.redis.delete(gone.id)
    assert [found async for found in Maintenance(queue.core).check_entries(100)] == [(2, 1)]
    assert await queue.redis.hkeys(queue.namespace("flow:lanes")) == [running.id.encode()]


async def test_entries_of_aborted_jobs_leave_their_lane_also_when_no_job_has_limits(
    queue: EngineQueue, hands: Hands
) -> None:
    work = limited(Concurrency(1))
    last = await work.enqueue(n=0)
    # As the abort of a job leaves it in a lane that is too long for a search.
    [lane] = await queue.redis.keys(queue.namespace("flow:lane:*"))
    await queue.redis.rpush(lane, "saq:job:default:none")
    await last.abort()
    assert await hands.all() == []
    assert await queue.redis.keys(queue.namespace("flow:lane:*")) == []


async def test_the_sweep_repairs_what_a_fault_has_left(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1))
    for n in range(2):
        await work.enqueue(n=n)
    [first] = await hands.all()
    await hands.finish(first)
    # A slot that no job holds, as an operator may leave it, and a lane without a place.
    await cast("Any", queue.redis).hset(queue.namespace("flow:gates"), "work\t", f"1\n{queue.job_id('none')}\n\n")
    await queue.redis.delete(queue.namespace("flow:ring:normal"))
    assert await hands.all() == []
    await queue.sweep()
    assert names(await hands.all()) == [1]


async def test_the_sweep_repairs_gates_with_keys_of_their_own(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1))
    for n in range(2):
        await work.enqueue(n=n)
    [first] = await hands.all()
    # As if jobs had taken that limit meanwhile.
    redis = cast("Any", queue.redis)
    await redis.hset(queue.namespace("flow:gates"), mapping={"work\t": "s", "unused\t": "s"})
    await redis.sadd(queue.namespace("flow:held:work\t"), first.id, queue.job_id("none"))
    await hands.finish(first)
    await queue.sweep()
    assert names(await hands.all()) == [1]
    assert await redis.hget(queue.namespace("flow:gates"), "unused\t") is None


async def test_lines_that_wait_at_one_place_take_it_one_after_another(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(2, name="all"), Concurrency(5, by="key"))
    for key in (1, 2, 3, 1, 2, 3):
        await work.enqueue(key=key)
    running = await hands.all()
    for ended in range(6):
        # Nor does a line find room that comes later.
        await work.enqueue(key=10 + ended)
        assert await hands.all() == []
        assert len(running) == await cast("Any", queue.redis).scard(queue.namespace("flow:held:all\t")) == 2
        await hands.finish(running.pop(0))
        running += await hands.all()


async def test_the_sweep_puts_no_lane_in_two_places(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1, name="all"), Concurrency(5, by="key"))
    await work.enqueue(key=1)
    await hands.all()
    await work.enqueue(key=2)
    await work.options(priority="high").enqueue(key=3)
    assert await hands.all() == []
    # As if the slot had been lost: the check of the first lane lets the second go.
    redis = cast("Any", queue.redis)
    assert await redis.delete(queue.namespace("flow:held:all\t"))
    await queue.sweep()
    ring: set[bytes] = set()
    for level in ("high", "normal"):
        ring |= set(await redis.zrange(queue.namespace(f"flow:ring:{level}"), 0, -1))
    assert ring
    assert not ring & set(await redis.zrange(queue.namespace("flow:waiters:all\t"), 0, -1))


async def test_a_job_that_a_stock_worker_moved_to_the_list_waits_for_its_limit(
    queue: EngineQueue, hands: Hands
) -> None:
    work = limited(Concurrency(1))
    await work.enqueue(n=0)
    late = await work.options(delay=1).enqueue(n=1)
    [first] = await hands.all()
    await queue.redis.zadd(queue.namespace("incomplete"), {late.id: 0})
    await queue.redis.rpush(queue.namespace("queued"), late.id)
    assert await hands.all() == []
    await hands.finish(first)
    assert names(await hands.all()) == [1]


async def test_a_newer_deploy_changes_limits_of_jobs_that_wait(queue: EngineQueue, hands: Hands) -> None:
    work = limited(Concurrency(1))
    for n in range(4):
        await work.enqueue(n=n)
    assert names(await hands.all()) == [0]
    with_more = TaskRegistry().task(name="work", limits=(Concurrency(3),))(_named("work"))
    await Ticker(queue, [with_more], dt.UTC).declare()
    assert names(await hands.all()) == [1, 2]
    without = TaskRegistry().task(name="work")(_named("work"))
    await Ticker(queue, [without], dt.UTC).declare()
    assert names(await hands.all()) == [3]


async def test_a_worker_runs_one_after_another(jobs: JobKit) -> None:
    most = running = 0

    @task(limits=(Concurrency(2, by="key"),))
    async def busy(ctx: Context, *, key: int) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    for _ in range(20):
        await busy.enqueue(key=1)
    await jobs.drain()
    assert most == 2


async def test_an_expired_job_that_its_worker_has_not_ended_does_not_hold_up_one_that_has_kept_its_slot(
    hands: Hands, jobs: JobKit
) -> None:
    @task(limits=(Concurrency(1, ordered=True),))
    async def ordered(ctx: Context, *, n: int) -> None: ...

    await ordered.options(expires=1.0).enqueue(n=1)
    await ordered.enqueue(n=2)
    jobs.travel(2.0)
    leased = await hands.all()
    assert names(leased) == [1, 2]
    await hands.release(*leased)
    started = await hands.all()
    assert names(started) == [2]
    await hands.finish(*started)
    assert names(await hands.all()) == [1]
