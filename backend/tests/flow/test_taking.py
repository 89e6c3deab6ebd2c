"""A job takes a limit for a part of its run."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from saqueduct import (
    Concurrency,
    Context,
    EngineQueue,
    InvalidArguments,
    LimitNotTaken,
    LimitTimeout,
    Queues,
    Rate,
    RegistrationError,
    UnknownLimit,
    limit,
    task,
)
from saqueduct.queue.limit_waits import LimitWaits
from saqueduct.queue.limits import Limits
from saqueduct.tasks import current_job
from saqueduct.tasks.job import EngineJob
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually
from tests.flow.hands import Hands

# Jobs that wait have to be woken.
pytestmark = [pytest.mark.usefixtures("registry"), pytest.mark.timings(limit_look=1000.0)]

ONE = Concurrency(1, name="api", by="account")


def taker(*takes: Concurrency | Rate, **options: Any) -> Any:
    @task(name="taker", takes=takes, **options)
    async def work(ctx: Context, *, n: int = 0) -> None: ...

    return work


@contextmanager
def running(job: EngineJob) -> Iterator[None]:
    """What is called, and which tasks are created, in the block belongs to a leased job."""
    before = current_job.job.set(job)
    try:
        yield
    finally:
        current_job.job.reset(before)


class Part:
    """A leased job that takes a limit."""

    def __init__(self, job: EngineJob, *name: str, timeout: float | None = None, **key: Any) -> None:
        self.inside = asyncio.Event()
        self.leave = asyncio.Event()
        with running(job):
            self.task = asyncio.create_task(self._run(limit(*name or ("api",), **key or {"account": 1}), timeout))

    async def _run(self, part: Any, timeout: float | None) -> None:
        async with part.take(timeout):
            self.inside.set()
            await self.leave.wait()

    async def has_it(self) -> None:
        async with asyncio.timeout(60):
            await self.inside.wait()

    async def end(self) -> None:
        self.leave.set()
        await self.task

    async def cancel(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


async def leased(hands: Hands, work: Any, count: int) -> list[EngineJob]:
    for n in range(count):
        await work.enqueue(n=n)
    return await hands.all()


async def waiting(queue: EngineQueue, count: int, gate: str = "api\t1") -> None:
    """Wait until so many wait at a limit."""

    async def do() -> bool:
        return bool(await queue.redis.zcard(queue.namespace(f"flow:waiters:{gate}")) == count)

    await eventually(do)


async def nothing_is_left(queue: EngineQueue, gate: str = "api\t1") -> None:
    keys = [queue.namespace(f"flow:{name}") for name in ("takes", f"waiters:{gate}", f"takers:{gate}", f"held:{gate}")]

    async def is_left() -> bool:
        return await queue.redis.exists(*keys) == 0

    await eventually(is_left)


async def test_a_job_holds_a_place_until_the_end_of_its_block(queue: EngineQueue, hands: Hands) -> None:
    one, two = [Part(job) for job in await leased(hands, taker(ONE), 2)]
    await one.has_it()
    await waiting(queue, 1)
    assert not two.inside.is_set()
    await one.end()
    await two.has_it()
    await two.end()
    await nothing_is_left(queue)


async def test_each_key_has_places_of_its_own(queue: EngineQueue, hands: Hands) -> None:
    jobs = await leased(hands, taker(ONE), 2)
    parts = [Part(job, account=n) for n, job in enumerate(jobs)]
    for part in parts:
        await part.has_it()
        await part.end()


async def test_each_block_of_a_job_counts(queue: EngineQueue, hands: Hands) -> None:
    [job] = await leased(hands, taker(Concurrency(2, name="api", by="account")), 1)
    first, second = Part(job), Part(job)
    await first.has_it()
    await second.has_it()
    third = Part(job)
    await waiting(queue, 1)
    await first.end()
    await third.has_it()
    await hands.finish(job)
    await nothing_is_left(queue)
    await second.end()
    await third.end()


async def test_those_that_wait_go_in_the_order_of_their_arrival(queue: EngineQueue, hands: Hands) -> None:
    first, *others = await leased(hands, taker(ONE), 6)
    holder = Part(first)
    await holder.has_it()
    parts = []
    for count, job in enumerate(others, start=1):
        parts.append(Part(job))
        await waiting(queue, count)
    await holder.end()
    for part, behind in itertools.pairwise(parts):
        await part.has_it()
        assert not behind.inside.is_set()
        await part.end()
    await parts[-1].has_it()
    await parts[-1].end()


async def test_starts_of_a_rate_are_spread(queue: EngineQueue, hands: Hands) -> None:
    jobs = await leased(hands, taker(Rate("api", 1, per=0.1)), 4)
    before = await queue.time()
    parts = []
    for job in jobs:
        with running(job):
            parts.append(asyncio.create_task(_once()))
    await asyncio.gather(*parts)
    assert await queue.time() - before >= 0.3
    await nothing_is_left(queue, "api\t")


async def _once() -> None:
    async with limit("api").take():
        pass


async def test_a_block_of_a_rate_holds_nothing(queue: EngineQueue, hands: Hands) -> None:
    [job] = await leased(hands, taker(Rate("api", 1, per=1000, burst=2)), 1)
    with running(job):
        async with limit("api").take(), limit("api").take():
            await nothing_is_left(queue, "api\t")
        with pytest.raises(LimitTimeout):
            async with limit("api").take(timeout=0):
                raise AssertionError("it is not its turn")
    await nothing_is_left(queue, "api\t")


async def test_a_cancelled_wait_leaves_nothing_behind(queue: EngineQueue, hands: Hands) -> None:
    one, two, three = [Part(job) for job in await leased(hands, taker(ONE), 3)]
    await one.has_it()
    await waiting(queue, 2)
    await two.cancel()
    await waiting(queue, 1)
    await one.end()
    await three.has_it()
    await three.end()
    await nothing_is_left(queue)


async def test_an_error_in_the_block_gives_the_place_back(queue: EngineQueue, hands: Hands) -> None:
    [job] = await leased(hands, taker(ONE), 1)
    with running(job), pytest.raises(ZeroDivisionError):
        async with limit("api", account=1).take():
            raise ZeroDivisionError
    await nothing_is_left(queue)


async def test_a_wait_ends_after_its_timeout(queue: EngineQueue, hands: Hands) -> None:
    first, second = await leased(hands, taker(ONE), 2)
    one = Part(first)
    await one.has_it()
    two = Part(second, timeout=0.05)
    with pytest.raises(LimitTimeout, match=r"not this job's turn at the limit 'api' within 0.05 s"):
        await two.task
    await one.end()
    await nothing_is_left(queue)


@pytest.mark.parametrize("how", ["finish", "retry", "release"])
async def test_the_end_of_the_attempt_gives_all_back(queue: EngineQueue, hands: Hands, how: str) -> None:
    first, second = await leased(hands, taker(ONE), 2)
    one = Part(first)
    await one.has_it()
    also, two = Part(first), Part(second)
    await waiting(queue, 2)
    await getattr(hands, how)(first)
    await two.has_it()
    await waiting(queue, 0)
    await one.end()
    await also.cancel()
    await two.end()
    await nothing_is_left(queue)


async def test_a_job_that_ends_is_granted_nothing_that_it_gives_back(queue: EngineQueue, hands: Hands) -> None:
    [job] = await leased(hands, taker(ONE), 1)
    one = Part(job)
    await one.has_it()
    two = Part(job)
    await waiting(queue, 1)
    await hands.finish(job)
    assert not await queue.redis.keys(queue.namespace("flow:takes*"))
    await two.cancel()
    assert not two.inside.is_set()
    await one.end()


async def test_a_call_costs_the_same_however_many_a_job_has(queue: EngineQueue, hands: Hands) -> None:
    [job] = await leased(hands, taker(Concurrency(1, name="api")), 1)
    redis: Any = queue.redis
    calls = [f"{n:016x}" for n in range(1000)]

    async def microseconds(tokens: list[str]) -> float:
        await redis.config_resetstat()
        for token in tokens:
            await hands.take(job, "api\t", token)
        return float((await redis.info("commandstats"))["cmdstat_evalsha"]["usec"])

    first = await microseconds(calls[:100])
    await microseconds(calls[100:-100])
    assert await microseconds(calls[-100:]) < 4 * first
    await hands.finish(job)
    await nothing_is_left(queue, "api\t")


@pytest.mark.timings(recovery_wait=0.0)
async def test_a_job_of_a_killed_worker_loses_its_place_when_it_is_recovered(queue: EngineQueue, hands: Hands) -> None:
    dead, waits = await leased(hands, taker(ONE), 1), await leased(Hands(queue, "other"), taker(ONE), 1)
    one, two = Part(dead[0]), Part(waits[0])
    await one.has_it()
    await waiting(queue, 1)
    await queue.redis.zadd(queue.namespace("leases"), {dead[0].id: 1})
    assert await queue.sweep() == [dead[0].id]
    await two.has_it()
    await one.end()
    await two.end()
    await nothing_is_left(queue)


async def test_a_job_whose_worker_has_died_gets_no_place(queue: EngineQueue, hands: Hands) -> None:
    holder, dead, other = await leased(hands, taker(ONE), 3)
    one, two = Part(holder), Part(dead)
    await one.has_it()
    await waiting(queue, 1)
    three = Part(other)
    await waiting(queue, 2)
    await queue.redis.zadd(queue.namespace("leases"), {dead.id: 1})
    await one.end()
    await three.has_it()
    await three.end()
    await two.cancel()
    await nothing_is_left(queue)


async def test_a_job_whose_lease_is_late_keeps_its_turn(queue: EngineQueue, hands: Hands) -> None:
    holder, late, other = await leased(hands, taker(ONE), 3)
    one, two = Part(holder), Part(late)
    await one.has_it()
    await waiting(queue, 1)
    three = Part(other)
    await waiting(queue, 2)
    leases = queue.namespace("leases")
    deadline = await queue.redis.zscore(leases, late.id)
    await queue.redis.zadd(leases, {late.id: 1})
    await one.end()
    await three.has_it()
    last = Part(holder)
    await waiting(queue, 2)
    await queue.redis.zadd(leases, {late.id: (deadline or 0) + 100})
    await three.end()
    await two.has_it()
    assert not last.inside.is_set()
    await two.end()
    await last.has_it()
    await last.end()
    await nothing_is_left(queue)


async def test_whole_jobs_and_parts_share_a_limit(queue: EngineQueue, hands: Hands) -> None:
    @task(limits=(ONE,))
    async def whole(ctx: Context, *, n: int, account: int) -> None: ...

    [job] = await leased(hands, taker(ONE), 1)
    part = Part(job)
    await part.has_it()
    for n in (1, 2):
        await whole.enqueue(n=n, account=1)
    assert await hands.all() == []
    await part.end()
    [first] = await hands.all()
    part = Part(job)
    await waiting(queue, 2)
    await hands.finish(first)
    [second] = await hands.all()
    await hands.finish(second)
    await part.has_it()
    await part.end()
    await nothing_is_left(queue)


def whole_job(*limits: Concurrency | Rate) -> Any:
    @task(name="whole", limits=limits)
    async def whole(ctx: Context, *, account: int) -> None: ...

    return whole


async def with_a_whole_job_between(queue: EngineQueue, hands: Hands) -> tuple[Part, Part, EngineJob]:
    """A part that has the limit, one that waits behind a whole job, and a job that takes none yet."""
    one, two, three = await leased(hands, taker(ONE), 3)
    holder = Part(one)
    await holder.has_it()
    await whole_job(ONE).enqueue(account=1)
    assert await hands.all() == []
    behind = Part(two)
    await waiting(queue, 2)
    return holder, behind, three


async def test_a_whole_job_that_is_first_in_line_is_not_passed(queue: EngineQueue, hands: Hands) -> None:
    holder, behind, three = await with_a_whole_job_between(queue, hands)
    await holder.end()
    last = Part(three)
    await waiting(queue, 2)
    [first] = await hands.all()
    assert first.function == "whole"
    assert not behind.inside.is_set()
    await hands.finish(first)
    for part in (behind, last):
        await part.has_it()
        await part.end()
    await nothing_is_left(queue)


async def test_a_place_that_no_worker_has_a_slot_for_goes_to_the_next(queue: EngineQueue, hands: Hands) -> None:
    holder, behind, three = await with_a_whole_job_between(queue, hands)
    last = Part(three)
    await waiting(queue, 3)
    await holder.end()
    # Nobody leases.
    await behind.has_it()
    assert await hands.all() == []
    # The whole job has kept its turn.
    await waiting(queue, 2)
    await behind.end()
    [first] = await hands.all()
    assert first.function == "whole"
    assert not last.inside.is_set()
    await hands.finish(first)
    await last.has_it()
    await last.end()
    await nothing_is_left(queue)


async def test_a_whole_job_does_not_starve_if_slots_become_free_at_the_wrong_times(hands: Hands, jobs: JobKit) -> None:
    one = Concurrency(1, name="api")
    works = await leased(hands, taker(one), 9)
    calls = [(job, f"{number:016x}") for number, job in enumerate(works)]
    assert await hands.take(*_at_api(calls[0])) == "granted"
    await whole_of(one).enqueue()
    assert await hands.all() == []
    for before, after in itertools.pairwise(calls):
        # The block lasts three seconds, and each time a worker has a slot two seconds after its begin.
        await hands.take(*_at_api(after))
        jobs.travel(1.0)
        await hands.give(before[0], before[1])
        jobs.travel(1.5)
        await hands.take(*_at_api(after))
        jobs.travel(0.5)
        if await hands.all():
            break
    else:
        raise AssertionError("the whole job has not started")


async def test_a_whole_job_does_not_starve_among_blocks_that_begin_when_no_other_waits(
    hands: Hands, jobs: JobKit
) -> None:
    one = Concurrency(1, name="api")
    calls = [(job, f"{number:016x}") for number, job in enumerate(await leased(hands, taker(one), 9))]
    assert await hands.take(*_at_api(calls[0])) == "granted"
    await whole_of(one).enqueue()
    assert await hands.all() == []
    for before, after in itertools.pairwise(calls):
        # The next job asks after the end of the block, and each time a worker has a slot two seconds after its begin.
        await hands.give(*before)
        await hands.take(*_at_api(after))
        jobs.travel(1.5)
        await hands.take(*_at_api(after))
        jobs.travel(2.0)
        if await hands.all():
            break
    else:
        raise AssertionError("the whole job has not started")


def _at_api(call: tuple[EngineJob, str]) -> tuple[EngineJob, str, str]:
    return call[0], "api\t", call[1]


def whole_of(*limits: Concurrency | Rate) -> Any:
    @task(name="whole", limits=limits)
    async def whole(ctx: Context) -> None: ...

    return whole


async def test_a_slot_is_for_whole_jobs_next_if_they_had_no_room_before(queue: EngineQueue, hands: Hands) -> None:
    whole, work = whole_job(ONE), taker(ONE)
    [job] = await leased(hands, work, 1)
    holder = Part(job)
    await holder.has_it()
    await whole.enqueue(account=1)
    for n in range(4):
        await work.enqueue(n=n)
    for _ in range(2):
        [listed] = await hands.lease(1)
        assert listed.function == "taker"
    await holder.end()
    [next_one] = await hands.lease(1)
    assert next_one.function == "whole"


async def test_a_limit_that_is_changed_lets_those_go_that_wait(
    queue: EngineQueue, queues: Queues, hands: Hands
) -> None:
    one, two = [Part(job) for job in await leased(hands, taker(ONE), 2)]
    await one.has_it()
    await waiting(queue, 1)
    await Limits(queues).change("api", limit=2)
    await two.has_it()
    for part in (one, two):
        await part.end()


async def test_a_closed_limit_is_waited_for(queue: EngineQueue, hands: Hands) -> None:
    two = Concurrency(2, name="api", by="account")

    @task(limits=(two,))
    async def whole(ctx: Context, *, account: int) -> None: ...

    await whole.enqueue(account=1)
    [job] = await hands.all()
    await hands.throttle(job, "api", 0.2)
    before = await queue.time()
    [other] = await leased(hands, taker(two), 1)
    part = Part(other)
    await part.has_it()
    assert await queue.time() - before >= 0.1
    await part.end()


async def test_why_a_running_job_waits_is_shown(queue: EngineQueue, hands: Hands) -> None:
    holder, other = await leased(hands, taker(ONE), 2)
    one, two = Part(holder), Part(other)
    await one.has_it()
    await waiting(queue, 1)
    shown = await queue.job(other.key)
    assert shown is not None
    [wait] = await LimitWaits(queue.core, queue.tasks).of(shown)
    assert (wait.limit, wait.key, wait.open, wait.running, wait.holders) == (
        "api",
        "account = 1",
        False,
        1,
        (holder.key,),
    )
    assert await LimitWaits(queue.core, queue.tasks).of((await queue.job(holder.key)) or other) == []
    await two.cancel()
    await one.end()


async def test_a_redacted_argument_is_not_shown(queue: EngineQueue, hands: Hands) -> None:
    @task(takes=(ONE,), redact=("account",))
    async def work(ctx: Context, *, n: int, account: int = 0) -> None: ...

    [job] = await leased(hands, work, 1)
    secret = 4711_4711_4711_4711  # longer than any group of a random key, which may hold shorter ones by chance
    part = Part(job, account=secret)
    await part.has_it()
    other = Part(job, account=secret)

    async def waits() -> Any:
        return await LimitWaits(queue.core, queue.tasks).of((await queue.job(job.key)) or job)

    [wait] = await eventually(waits)
    assert wait.key == "[redacted]"
    assert not await queue.redis.keys(f"*{secret}*")
    await hands.finish(job)
    await part.end()
    await other.cancel()


async def test_it_is_listed_with_the_limits(queues: Queues) -> None:
    taker(ONE)
    [state] = await Limits(queues).states()
    assert (state.name, state.tasks, state.by) == ("api", ("taker",), ("account",))


async def test_an_unknown_limit_names_those_that_exist(hands: Hands) -> None:
    [job] = await leased(hands, taker(ONE), 1)
    with running(job), pytest.raises(UnknownLimit, match="there is no limit 'apis'; did you mean 'api'"):
        limit("apis", account=1)


def test_it_needs_a_job() -> None:
    with pytest.raises(LimitNotTaken, match="call this in a job that a worker runs"):
        limit("api", account=1)


async def test_a_limit_of_another_queue_is_refused(hands: Hands) -> None:
    @task(takes=(Concurrency(1, name="far"),), queue="mails")
    async def elsewhere(ctx: Context) -> None: ...

    [job] = await leased(hands, taker(ONE), 1)
    with running(job), pytest.raises(LimitNotTaken, match="is kept in the queue 'mails', and this job is in 'default'"):
        limit("far")


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ({}, "invalid arguments for the limit 'api': account: is missing"),
        ({"account": 1, "user": 2}, r"user: is not an argument of this limit \(there are: account\)"),
        ({"account": "x"}, "account: Expected `int`, got `str`"),
    ],
    ids=["missing", "unknown", "invalid"],
)
async def test_keys_are_validated(hands: Hands, key: dict[str, Any], problem: str) -> None:
    @task(limits=(ONE,))
    async def whole(ctx: Context, *, account: int) -> None: ...

    [job] = await leased(hands, taker(ONE), 1)
    with running(job), pytest.raises(InvalidArguments, match=problem):
        limit("api", **key)


async def test_keys_are_those_of_calls(queue: EngineQueue, hands: Hands) -> None:
    @task(limits=(ONE,))
    async def whole(ctx: Context, *, account: UUID) -> None: ...

    account = UUID(int=7)
    await whole.enqueue(account=account)
    await hands.all()
    [job] = await leased(hands, taker(ONE), 1)
    for given in (account, str(account)):
        part = Part(job, account=given)
        await waiting(queue, 1, f'api\t"{account}"')
        await part.cancel()
        await waiting(queue, 0, f'api\t"{account}"')


async def test_a_limit_of_the_whole_job_is_refused(hands: Hands) -> None:
    @task(limits=(ONE,))
    async def whole(ctx: Context, *, account: int) -> None: ...

    await whole.enqueue(account=1)
    [job] = await hands.all()
    with running(job), pytest.raises(LimitNotTaken, match="it is in `limits` of its task"):
        async with limit("api", account=1).take():
            pass


async def test_a_job_that_was_recovered_takes_nothing(queue: EngineQueue, hands: Hands) -> None:
    [job] = await leased(hands, taker(ONE), 1)
    await hands.finish(job)
    with running(job), pytest.raises(LimitNotTaken, match="the lease of the job was lost"):
        async with limit("api", account=1).take():
            pass
    await nothing_is_left(queue)


async def test_each_block_needs_its_own_call(hands: Hands) -> None:
    [job] = await leased(hands, taker(ONE), 1)
    with running(job):
        part = limit("api", account=1).take()
        async with part:
            pass
        with pytest.raises(LimitNotTaken, match="a call of take"):
            async with part:
                pass


def test_a_name_has_one_rule() -> None:
    taker(ONE)
    with pytest.raises(RegistrationError, match="the limit 'api' is"):

        @task(takes=(Concurrency(2, name="api", by="account"),))
        async def other(ctx: Context) -> None: ...


def test_a_task_does_not_name_a_limit_twice() -> None:
    with pytest.raises(RegistrationError, match="takes: two limits have the name 'api'"):
        taker(ONE, limits=(ONE,))


async def test_jobs_of_workers_take_turns(jobs: JobKit, queue: EngineQueue) -> None:
    inside = most = 0

    @task(takes=(Concurrency(2, name="api"),))
    async def work(ctx: Context, *, n: int) -> None:
        nonlocal inside, most
        async with limit("api").take():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    handles = [await work.enqueue(n=n) for n in range(30)]
    async with jobs.working():
        for handle in handles:
            await handle.result(timeout=60)
    assert most <= 2
    await nothing_is_left(queue, "api\t")
