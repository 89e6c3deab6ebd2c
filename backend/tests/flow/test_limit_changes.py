"""Limits that are changed while jobs wait."""

import datetime as dt
from typing import Any

import pytest

from saqueduct import Concurrency, Context, EngineQueue, Queues, Rate, TaskRegistry, Unique, UnknownLimit, task
from saqueduct.queue.limit_states import LimitNumbers
from saqueduct.queue.limits import Limits
from saqueduct.worker.ticker import Ticker
from tests.flow.hands import Hands, names

pytestmark = pytest.mark.usefixtures("registry")


@pytest.fixture
def limits(queues: Queues) -> Limits:
    return Limits(queues)


def limited(*limits: Concurrency | Rate, registry: TaskRegistry | None = None) -> Any:
    async def work(ctx: Context, *, n: int = 0, key: int = 0) -> None: ...

    decorate = task if registry is None else registry.task
    return decorate(name="work", limits=limits)(work)


def at_once(number: int) -> LimitNumbers:
    return LimitNumbers(number, per=None, burst=None)


async def test_a_change_applies_to_jobs_that_wait(hands: Hands, limits: Limits) -> None:
    work = limited(Concurrency(1))
    for n in range(4):
        await work.enqueue(n=n)
    assert names(await hands.all()) == [0]
    state = await limits.change("work", limit=3, by="ada", why="more machines")
    assert (state.numbers, state.declared) == (at_once(3), at_once(1))
    assert state.changed is not None
    assert (state.changed.by, state.changed.why) == ("ada", "more machines")
    assert names(await hands.all()) == [1, 2]
    assert await limits.reset("work")
    assert not await limits.reset("work")
    state = await limits.state("work")
    assert (state.numbers, state.changed) == (at_once(1), None)


async def test_a_lower_limit_stops_no_job(hands: Hands, limits: Limits) -> None:
    work = limited(Concurrency(2))
    for n in range(3):
        await work.enqueue(n=n)
    one, two = await hands.all()
    await limits.change("work", limit=1)
    await hands.finish(one)
    assert await hands.all() == []
    await hands.finish(two)
    assert names(await hands.all()) == [2]


async def test_a_rate_opens_by_its_new_numbers(hands: Hands, limits: Limits) -> None:
    work = limited(Rate("slow", 1, per=1000))
    for n in range(2):
        await work.enqueue(n=n)
    assert names(await hands.all()) == [0]
    await limits.change("slow", per=100)
    await hands.all()
    assert hands.due is not None
    assert hands.due <= 100
    state = await limits.change("slow", burst=3)
    assert state.numbers == LimitNumbers(1, 100.0, 3)
    assert names(await hands.all()) == [1]


async def test_a_change_outlives_a_deploy_and_ends_with_a_new_declaration(queue: EngineQueue, limits: Limits) -> None:
    work = limited(Concurrency(2))
    # Before any worker has declared it.
    await limits.change("work", limit=5)
    await Ticker(queue, [work], dt.UTC).declare()
    assert (await limits.state("work")).numbers == at_once(5)
    other = TaskRegistry()
    both = [limited(Concurrency(2), registry=other), limited_other(other)]
    await Ticker(queue, both, dt.UTC).declare()
    assert (await limits.state("work")).numbers == at_once(5)
    await Ticker(queue, [limited(Concurrency(3), registry=TaskRegistry())], dt.UTC).declare()
    state = await limits.state("work")
    assert (state.numbers, state.changed) == (at_once(3), None)


def limited_other(registry: TaskRegistry) -> Any:
    @registry.task(limits=(Concurrency(1),))
    async def other(ctx: Context) -> None: ...

    return other


async def test_all_limits_are_listed(limits: Limits) -> None:
    stripe = Rate("stripe", 90, per=10, by="key")
    limited(stripe, Concurrency(2, by=("key", "n"), ordered=True))

    @task(limits=(stripe,))
    async def other(ctx: Context, *, key: int) -> None: ...

    rate, own = await limits.states()
    assert (rate.name, rate.kind, rate.tasks, rate.by, rate.queue) == (
        "stripe", "rate", ("work", "other"), ("key",), "default",
    )  # fmt: skip
    assert rate.numbers == rate.declared == LimitNumbers(90, 10.0, 1)
    assert (own.name, own.kind, own.by, own.ordered) == ("work", "concurrency", ("key", "n"), True)


@pytest.mark.parametrize(
    ("name", "numbers", "says"),
    [
        pytest.param("work", {}, "give at least one of limit, per and burst", id="nothing"),
        pytest.param("work", {"limit": 0}, "limit must be at least 1", id="zero"),
        pytest.param("work", {"limit": 2.5}, "takes a whole number", id="half"),
        pytest.param("work", {"per": 3.0}, "per: a Concurrency has only the number limit", id="no rate"),
        pytest.param("slow", {"per": 0.0}, "per must be at least 0.001", id="no time"),
        pytest.param("slow", {"limit": 900_000, "per": 1.0}, "at most 100,000 starts a second", id="too fast"),
    ],
)
async def test_numbers_that_do_not_fit_change_nothing(limits: Limits, name: str, numbers: Any, says: str) -> None:
    limited(Concurrency(2), Rate("slow", 1, per=1000))
    with pytest.raises(ValueError, match=says):
        await limits.change(name, **numbers)
    assert (await limits.state(name)).changed is None


async def test_an_unknown_limit_is_an_error(limits: Limits) -> None:
    limited(Rate("stripe", 1))
    with pytest.raises(UnknownLimit, match="there is no limit 'strip'; did you mean 'stripe'"):
        await limits.change("strip", limit=1)
    with pytest.raises(UnknownLimit, match="there is no limit 'x'; there are: 'stripe'"):
        await limits.reset("x")


async def test_the_limit_of_a_task_whose_newest_job_wins_is_not_changed(limits: Limits) -> None:
    @task(unique=Unique(on_conflict="cancel"))
    async def render(ctx: Context) -> None: ...

    limited(Concurrency(1, name="work: newest"))
    with pytest.raises(ValueError, match='as on_conflict="cancel" needs it'):
        await limits.change("render: newest", limit=5)
    assert (await limits.state("render: newest")).changed is None
    assert (await limits.change("work: newest", limit=5)).numbers == at_once(5)
