"""What is enqueued: its order, delays, unique jobs, and that each call counts once."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from dishka import AsyncContainer
from saq import Job
from saq.job import Status

from app.settings import Settings, load_settings
from saqueduct import Context, DuplicateJob, JobHandle, Queues, RegistrationError, Retry, Unique, enqueue_many, task
from saqueduct.tasks.job import Enqueued
from saqueduct.testing import JobKit
from saqueduct.timings import Timings
from tests.fixtures.composition import build_container, build_queues
from tests.fixtures.poll import eventually
from tests.queue.kit import marking, taken, working

pytestmark = pytest.mark.usefixtures("only_own_tasks")

# Priorities


async def test_higher_levels_go_first_and_within_one_the_older(queues: Queues) -> None:
    mark = marking([])
    low, high = mark.options(priority="low"), mark.options(priority="high")
    calls = [low.bind(name="low 1"), mark.bind(name="normal 1"), high.bind(name="high 1")]
    calls += [low.bind(name="low 2"), mark.bind(name="normal 2"), high.bind(name="high 2")]
    await enqueue_many(calls)
    assert await taken(queues, 6) == ["high 1", "high 2", "normal 1", "normal 2", "low 1", "low 2"]


async def test_no_level_waits_for_ever(queues: Queues) -> None:
    mark = marking([])
    for level in ("high", "normal", "low"):
        await enqueue_many(mark.options(priority=level).bind(name=level) for _ in range(40))
    names = await taken(queues, 40)
    # Every tenth turn is a lower level's, by turns the second and the last.
    assert (names.count("high"), names.count("normal"), names.count("low")) == (36, 2, 2)


async def test_a_delayed_job_comes_due_in_its_own_level(queues: Queues, jobs: JobKit) -> None:
    mark = marking([])
    await mark.enqueue(name="normal")
    await mark.options(priority="high", delay=60).enqueue(name="high")
    with jobs.travel(61):
        await queues.get("default").schedule()
    assert await taken(queues, 2) == ["high", "normal"]


only_woken = pytest.mark.timings(peek=300.0, due_look=300)
"""A worker that is not woken does not look for jobs within the time of a test; see `patient`."""


@pytest.fixture
def patient(environment: dict[str, str]) -> Settings:
    """Settings with which redis-py waits as long as such a worker."""
    return load_settings(environment | {"REDIS_URL": f"{environment['REDIS_URL']}?socket_timeout=600"})


@pytest.fixture
async def idle(patient: Settings, timings: Timings, empty_redis: None, engine: object) -> AsyncIterator[Queues]:
    """The queues, with a worker that has looked for jobs and waits."""
    queues = build_queues(patient, timings)
    await queues.connect()
    container = build_container(patient, queues)
    async with working(patient, queues, container, schedules=False):
        await eventually(lambda: _one_waits(queues))
        yield queues
    await container.close()
    await queues.disconnect()


async def _one_waits(queues: Queues) -> bool:
    return bool((await queues.get("default").redis.info("clients"))["blocked_clients"])


@pytest.fixture
def stamp() -> Any:
    """A task that returns when it ran."""

    @task
    async def stamp(ctx: Context) -> float:
        return time.time()

    return stamp


@only_woken
@pytest.mark.parametrize("options", [{"priority": "high"}, {"priority": "low"}, {}])
async def test_an_idle_worker_starts_a_job_of_any_level_at_once(stamp: Any, idle: Queues, options: Any) -> None:
    for _ in range(5):
        assert await (await stamp.options(**options).enqueue()).result(timeout=60)


def test_an_unknown_priority_is_refused() -> None:
    with pytest.raises(RegistrationError, match="priority must be one of high, normal, low, not 'urgent'"):

        @task(**cast("Any", {"priority": "urgent"}))
        async def urgent(ctx: Context) -> None: ...


# Delays


async def test_delays_count_in_fractions_of_a_second(stamp: Any, queues: Queues) -> None:
    queue = queues.get("default")

    async def due(handle: JobHandle[float]) -> float:
        found = await queue.redis.zscore(queue.namespace("incomplete"), handle.id)
        assert found is not None
        return float(found)

    for delay in (0.3, 0.75, 1.1):
        before = await queue.time()
        handle = await stamp.options(delay=delay).enqueue()
        assert before + delay - 0.001 <= await due(handle) <= await queue.time() + delay + 0.001
    eta = dt.datetime(2100, 1, 1, 12, 30, 15, 550_000, tzinfo=dt.UTC)
    assert await due(await stamp.options(eta=eta).enqueue()) == pytest.approx(eta.timestamp(), abs=0.001)


@only_woken
async def test_an_idle_worker_starts_delayed_jobs_when_they_are_due(stamp: Any, idle: Queues) -> None:
    delays = [0.3, 0.75, 1.1]
    enqueued = time.time()
    handles = [await stamp.options(delay=delay).enqueue() for delay in reversed(delays)]
    started = [await handle.result(timeout=60) for handle in reversed(handles)]
    assert all(start >= enqueued + delay - 0.001 for start, delay in zip(started, delays, strict=True))


async def test_of_two_jobs_of_a_key_in_one_round_trip_the_first_stands(queues: Queues) -> None:
    mark = marking([])
    queue = queues.get("default")
    first, second = await asyncio.gather(
        mark.options(key="one", delay=60).enqueue(name="first"), mark.options(key="one").enqueue(name="second")
    )
    assert (first.created, second.created) == (True, False)
    assert ((await first.refresh()).kwargs or {})["name"] == "first"
    assert (await queue.count("incomplete"), await queue.count("queued")) == (1, 0)


@pytest.mark.parametrize("delay", [float("nan"), float("inf"), -1.0])
async def test_an_impossible_delay_harms_no_other_job_of_the_round_trip(queues: Queues, delay: float) -> None:
    mark = marking([])
    queue = queues.get("default")
    with pytest.raises(ValueError, match=r"delay must (be at least 0|end before)"):
        mark.options(delay=delay)
    with pytest.raises(ValueError, match=r"delay must (be at least 0|end before)"):
        Retry(delay=delay)
    bad = mark.job({"name": "bad"})
    bad.delay = delay
    answers: list[object] = await asyncio.gather(
        mark.enqueue(name="good"), queue.enqueue(bad), mark.enqueue(name="other"), return_exceptions=True
    )
    assert [isinstance(answer, Exception) for answer in answers] == [False, True, False]
    assert isinstance(answers[1], ValueError)
    assert await taken(queues, 2) == ["good", "other"]


async def test_a_time_before_1970_has_come(queues: Queues) -> None:
    mark = marking([])
    await mark.options(eta=dt.datetime(1960, 1, 1, tzinfo=dt.UTC)).enqueue(name="old")
    assert await taken(queues, 1) == ["old"]


# Unique jobs


async def test_a_unique_job_that_exists_is_the_answer(queues: Queues) -> None:
    @task(unique=Unique(by=("user_id",)))
    async def feed(ctx: Context, *, user_id: int, full: bool = False) -> None: ...

    first = await feed.enqueue(user_id=1)
    again = await feed.enqueue(user_id=1, full=True)
    other = await feed.enqueue(user_id=2)
    assert (first.created, again.created, other.created) == (True, False, True)
    assert again.key == first.key
    assert await queues.get("default").count("queued") == 2


async def test_unique_by_all_arguments_counts_defaults_as_given(queues: Queues) -> None:
    @task(unique=Unique())
    async def feed(ctx: Context, *, user_id: int, full: bool = False) -> None: ...

    first = await feed.enqueue(user_id=1)
    assert (await feed.enqueue(user_id=1, full=False)).key == first.key
    assert (await feed.enqueue(user_id=1, full=True)).created


async def test_a_conflict_can_be_an_error(queues: Queues) -> None:
    @task(unique=Unique(by=("user_id",), on_conflict="raise"))
    async def feed(ctx: Context, *, user_id: int) -> None: ...

    first = await feed.enqueue(user_id=1)
    with pytest.raises(DuplicateJob) as caught:
        await feed.enqueue(user_id=1)
    assert caught.value.existing == first.key
    with pytest.raises(DuplicateJob):
        await enqueue_many([feed.bind(user_id=1), feed.bind(user_id=2)])
    assert await queues.get("default").count("queued") == 2


async def test_a_waiting_job_gives_way_to_one_that_replaces_it(queues: Queues) -> None:
    @task(unique=Unique(by=("user_id",), on_conflict="replace"))
    async def feed(ctx: Context, *, user_id: int, full: bool = False) -> None: ...

    first = await feed.options(delay=60).enqueue(user_id=1)
    second = await feed.enqueue(user_id=1, full=True)
    assert second.created
    old = await first.refresh()
    assert (old.status, old.error) == (Status.ABORTED, f"replaced by {second.key}")
    queue = queues.get("default")
    assert (await queue.count("incomplete"), await queue.count("queued")) == (1, 1)


async def test_of_many_at_once_one_stands(queues: Queues) -> None:
    @task(unique=Unique(by=("user_id",), on_conflict="replace"))
    async def replacing(ctx: Context, *, user_id: int) -> None: ...

    @task(unique=Unique(by=("user_id",)))
    async def ignoring(ctx: Context, *, user_id: int) -> None: ...

    await asyncio.gather(*(ignoring.enqueue(user_id=1) for _ in range(50)))
    assert await queues.get("default").count("queued") == 1
    await asyncio.gather(*(replacing.enqueue(user_id=1) for _ in range(20)))
    assert await queues.get("default").count("queued") == 2


async def test_a_running_job_blocks_another_until_it_ends(
    settings: Settings, queues: Queues, container: AsyncContainer
) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @task(unique=Unique(by=("user_id",)))
    async def feed(ctx: Context, *, user_id: int) -> None:
        started.set()
        await go.wait()

    async with working(settings, queues, container):
        first = await feed.enqueue(user_id=1)
        await started.wait()
        assert (await feed.enqueue(user_id=1)).key == first.key
        waiting_only = feed.options(unique=Unique(by=("user_id",), states=("queued",)))
        second = await waiting_only.enqueue(user_id=1)
        assert second.created
        go.set()
        await first.result(timeout=60)
        await second.result(timeout=60)
    redis = queues.get("default").redis
    assert await redis.keys("saq:default:unique:*") == []


async def test_a_period_outlasts_the_job(queues: Queues, jobs: JobKit) -> None:
    @task(unique=Unique(period=60, states=("queued", "active", "complete")))
    async def digest(ctx: Context) -> None: ...

    first = await digest.enqueue()
    await jobs.drain()
    assert (await digest.enqueue()).key == first.key
    redis = queues.get("default").redis
    [claim] = await redis.keys("saq:default:unique:*")
    assert 0 < await redis.pttl(claim) <= 60_000
    await redis.delete(claim)
    assert (await digest.enqueue()).created


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"by": "user_id"}, "tuples of names"),
        ({"states": ("running",)}, "unknown states"),
        ({"states": ()}, "must not be empty"),
        ({"states": ("complete",)}, "period"),
        ({"period": 0}, "period must be at least"),
        ({"on_conflict": "explode"}, "on_conflict"),
    ],
)
def test_an_impossible_unique_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Unique(**options)


def test_unique_by_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(RegistrationError, match="unique names usr_id"):

        @task(unique=Unique(by=("usr_id",)))
        async def feed(ctx: Context, *, user_id: int) -> None: ...


# Each call counts once


@pytest.mark.parametrize("options", [{}, {"priority": "high"}, {"unique": Unique()}, {"delay": 0.05}])
async def test_a_new_job_that_is_sent_twice_by_one_call_is_enqueued_once(
    queues: Queues, jobs: JobKit, options: dict[str, Any]
) -> None:
    runs: list[str] = []
    mark = marking(runs).options(**options)
    queue = queues.get("default")
    made = [mark.job({"name": name}) for name in ("first", "second")]
    await queue.enqueuer.prepare(made)
    rows = [(job, queue.enqueuer.row_to_send(job)) for job in made]
    # As when the answer is lost with the connection: the same call goes out again.
    for part in (rows[:1], rows, rows):
        assert await queue.enqueuer.send(part) == [Enqueued(job.key, created=True) for job, _ in part]
        assert await queue.count("incomplete") == len(part)
    await jobs.drain()
    assert sorted(runs) == ["first", "second"]
    # Also when it has run meanwhile.
    await queue.enqueuer.send(rows)
    assert await queue.count("incomplete") == 0


async def test_a_job_that_is_enqueued_again_is_another_call(queues: Queues) -> None:
    mark = marking([])
    queue = queues.get("default")
    call = mark.bind(name="once")
    first, second = await enqueue_many([call, call])
    assert (first.created, second.created) == (True, False)
    assert await queue.enqueue(call.job) is None
    assert await queue.count("incomplete") == 1


async def test_new_and_other_jobs_of_one_call_keep_their_order(queues: Queues) -> None:
    mark = marking([])
    await mark.options(key="there").enqueue(name="0")
    calls = [
        mark.bind(name="1"),
        mark.bind(name="2"),
        mark.options(key="mine").bind(name="3"),
        mark.options(key="there").bind(name="not again"),
        mark.options(delay=60).bind(name="later"),
        mark.bind(name="4"),
    ]
    handles = await enqueue_many(calls)
    assert [handle.created for handle in handles] == [True, True, True, False, True, True]
    assert await taken(queues, 5) == ["0", "1", "2", "3", "4"]


async def test_a_key_that_a_hook_gives_is_looked_for(queues: Queues) -> None:
    mark = marking([])
    queue = queues.get("default")

    async def rename(job: Job) -> None:
        job.key = "the only one"

    queue.register_before_enqueue(rename)
    assert [(await mark.enqueue(name=name)).created for name in ("first", "second")] == [True, False]
    assert await taken(queues, 1) == ["first"]


async def test_what_a_hook_does_to_one_job_is_not_done_to_the_next(queues: Queues) -> None:
    mark = marking([]).options(meta={"nested": {"of": "the call"}})
    queue = queues.get("default")

    async def spoil(job: Job) -> None:
        job.meta["nested"]["of"] = job.key
        job.meta["more"] = True

    queue.register_before_enqueue(spoil)
    handles = [await mark.enqueue(name=name) for name in ("first", "second")]
    for handle in handles:
        meta = (await handle.refresh()).meta
        assert meta == {"nested": {"of": handle.key}, "more": True}
