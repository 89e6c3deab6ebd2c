"""Debounced tasks: which calls share a job, when it starts, and with which arguments."""

import asyncio
from typing import Any

import pytest
from saq.job import Status

from saqueduct import (
    Concurrency,
    ConfigurationError,
    Context,
    Debounce,
    EngineQueue,
    RegistrationError,
    Unique,
    enqueue_many,
    scheduled_task,
    task,
)
from saqueduct.common import clock
from saqueduct.testing import Drained, JobKit
from saqueduct.testing.incomplete import IncompleteJobs
from tests.flow.hands import Hands, names

pytestmark = pytest.mark.usefixtures("registry")


def debounced(debounce: Debounce | None = None, **options: Any) -> Any:
    """A debounced task, each `doc` of which has a job."""

    @task(debounce=debounce or Debounce(500, max_wait=6000, by="doc"), **options)
    async def index(ctx: Context, *, doc: int = 0, n: int = 0) -> int:
        return n

    return index


async def starts(queue: EngineQueue) -> dict[str, float]:
    """When each waiting job starts, by its key, in seconds from now by the clock of Redis; 0: it is due."""
    time_now = await queue.time()
    return {key: score and score - time_now for key, score in await IncompleteJobs(queue).listed()}


# Declarations


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda: Debounce(0), "wait must be at least", id="no wait"),
        pytest.param(lambda: Debounce("5"), "wait must be a number", id="text"),  # type: ignore[arg-type]
        pytest.param(lambda: Debounce(5, max_wait=4), "max_wait is at least wait: 5, not 4", id="max below wait"),
        pytest.param(lambda: Debounce(5, by=["doc"]), 'by="doc_id"', id="list"),
        pytest.param(lambda: Debounce(5, by=""), 'by="doc_id"', id="empty by"),
        pytest.param(lambda: Debounce(5, max_wit=60), "did you mean 'max_wait'", id="misspelled"),  # type: ignore[call-arg]
    ],
)
def test_an_invalid_debounce_is_refused(make: Any, says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        make()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"debounce": 5}, r"takes a Debounce\(", id="number"),
        pytest.param({"debounce": Debounce(5, by="dok")}, "names dok.*there are: doc, n", id="unknown argument"),
        pytest.param({"debounce": Debounce(5), "unique": Unique()}, "give one of them", id="unique"),
    ],
)
def test_a_debounce_that_does_not_fit_the_task_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(RegistrationError, match=says):

        @task(**options)
        async def index(ctx: Context, *, doc: int = 0, n: int = 0) -> None: ...


def test_a_schedule_of_a_debounced_task_is_refused() -> None:
    with pytest.raises(RegistrationError, match="schedule a second task"):

        @scheduled_task(every=60, debounce=Debounce(5))
        async def index(ctx: Context) -> None: ...


@pytest.mark.parametrize(
    "options", [{"delay": 5}, {"key": "mine"}, {"unique": Unique()}], ids=["delay", "key", "unique"]
)
def test_options_that_contradict_the_debounce_are_refused(options: dict[str, Any]) -> None:
    [name] = options
    with pytest.raises(ValueError, match=f"{name}: the task 'index' is debounced"):
        debounced().options(**options)


@pytest.mark.parametrize("fields", [{"key": "mine"}, {"scheduled": 9_000_000_000}], ids=["key", "scheduled"])
async def test_so_are_fields_in_the_form_of_saq(queue: EngineQueue, fields: dict[str, Any]) -> None:
    debounced()
    [name] = fields
    with pytest.raises(ValueError, match=f"{name}: the task 'index' is debounced"):
        await queue.enqueue("index", n=1, **fields)
    assert await starts(queue) == {}


async def test_a_queue_that_stores_no_text_is_refused(queue: EngineQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue.core, "_dump", lambda job: b"\x00")
    with pytest.raises(ConfigurationError, match="dump="):
        await debounced().enqueue(n=1)


# Calls


async def test_the_arguments_of_the_last_call_run(jobs: JobKit, queue: EngineQueue) -> None:
    index = debounced()
    first = await index.enqueue(n=1)
    second = await index.enqueue(n=2)
    other = await index.enqueue(doc=1, n=3)
    assert (second.key, second.created, first.created) == (first.key, False, True)
    assert other.key != first.key
    assert sorted(names(jobs.all_enqueued(index))) == [2, 3]  # type: ignore[arg-type]
    await first.refresh()
    assert first.calls == 2
    assert await jobs.drain() == Drained(complete=2)
    assert (await first.result(timeout=10), await second.result(timeout=10)) == (2, 2)
    assert await queue.redis.keys(queue.namespace("unique:*")) == []


async def test_a_call_starts_the_wait_again_up_to_the_maximum(queue: EngineQueue) -> None:
    index = debounced(Debounce(500, max_wait=1200, by="doc"))
    first = await index.enqueue()
    begin = (await starts(queue))[first.key]
    assert begin == pytest.approx(500, abs=40)
    for ahead, after in [(400, 500), (800, 400), (1150, 50)]:
        with clock.shifted(ahead):
            await index.enqueue()
            assert (await starts(queue))[first.key] == pytest.approx(after, abs=40)


async def test_without_a_maximum_calls_wait_as_long_as_they_follow(queue: EngineQueue) -> None:
    index = debounced(Debounce(500))
    await index.enqueue()
    for ahead in range(400, 40_000, 4000):
        with clock.shifted(ahead):
            [job] = [await index.enqueue()]
            assert (await starts(queue))[job.key] == pytest.approx(500, abs=40)


async def test_all_arguments_decide_without_by(jobs: JobKit) -> None:
    index = debounced(Debounce(500))
    first = await index.enqueue(doc=1)
    assert (await index.enqueue(doc=1, n=0)).key == first.key
    assert (await index.enqueue(doc=1, n=1)).key != first.key


async def test_a_worker_starts_it_when_its_time_has_come(jobs: JobKit) -> None:
    index = debounced(Debounce(0.05, by="doc"))
    async with jobs.working():
        await index.enqueue(n=1)
        job = await index.enqueue(n=2)
        assert await job.result(timeout=30) == 2


async def test_a_job_that_is_due_and_waits_for_a_worker_takes_the_arguments(
    queue: EngineQueue, hands: Hands, jobs: JobKit
) -> None:
    index = debounced()
    first = await index.enqueue(n=1)
    with clock.shifted(600):
        await queue.schedule()
        second = await index.enqueue(n=2)
        assert second.key == first.key
        assert await starts(queue) == {first.key: 0}
        assert names(await hands.lease()) == [2]


async def test_a_call_during_the_run_is_a_new_job(hands: Hands, queue: EngineQueue) -> None:
    index = debounced()
    first = await index.enqueue(n=1)
    with clock.shifted(600):
        await queue.schedule()
        [running] = await hands.lease()
        second, third = await index.enqueue(n=2), await index.enqueue(n=3)
        assert (second.created, third.created, second.key == third.key) == (True, False, True)
        await hands.finish(running)
        assert (await starts(queue))[second.key] == pytest.approx(500, abs=40)
        assert (await index.enqueue(n=4)).key == second.key
    assert (await first.status(), first.calls) == (Status.COMPLETE, 1)


async def test_many_calls_at_once_are_one_job(queue: EngineQueue) -> None:
    index = debounced()
    handles = await asyncio.gather(*(index.enqueue(n=n) for n in range(40)))
    handles += await enqueue_many(index.bind(n=n) for n in range(600))
    assert len({each.key for each in handles}) == 1
    await handles[0].refresh()
    assert (handles[0].calls, handles[0].job.kwargs) == (640, {"n": 599})


async def test_names_in_the_arguments_are_kept(jobs: JobKit) -> None:
    @task(debounce=Debounce(500))
    async def index(ctx: Context, *, text: dict[str, Any]) -> dict[str, Any]:
        return text

    text = {"saqueduct.debounce": [1, 2, "%1"], "scheduled": 0, "key": "%d", "queued": [], "empty": {}}
    await index.enqueue(text=text)
    job = await index.enqueue(text=text)
    await jobs.drain()
    assert await job.result(timeout=10) == text


async def test_priority_and_expiry_are_those_of_the_last_call(queue: EngineQueue, jobs: JobKit) -> None:
    index = debounced()
    await index.options(priority="high", expires=100).enqueue(n=1)
    low = await index.options(priority="low").enqueue(n=2)
    assert await queue.redis.hget(queue.namespace("levels"), queue.job_id(low.key)) == b"low"
    normal = await index.enqueue(n=3)
    assert await queue.redis.hlen(queue.namespace("levels")) == 0
    assert await jobs.drain() == Drained(complete=1)
    assert await normal.result(timeout=10) == 3


async def test_an_abort_ends_the_wait(queue: EngineQueue) -> None:
    index = debounced()
    first = await index.enqueue(n=1)
    await first.abort()
    second = await index.enqueue(n=2)
    assert second.created
    assert list(await starts(queue)) == [second.key]


async def test_the_api_of_saq_says_that_a_call_was_merged(queue: EngineQueue, jobs: JobKit) -> None:
    index = debounced()
    assert await queue.enqueue("index", n=1) is not None
    assert await queue.enqueue("index", n=2) is None
    assert names(jobs.all_enqueued(index)) == [2]  # type: ignore[arg-type]


# Attempts


async def test_a_job_that_waits_for_its_next_attempt_is_replaced(queue: EngineQueue, hands: Hands) -> None:
    index = debounced(retries=3)
    first = await index.enqueue(n=1)
    with clock.shifted(600):
        await queue.schedule()
        [failed] = await hands.lease()
        await hands.retry(failed, 10_000)
        second = await index.enqueue(n=2)
        assert second.created
        assert (await starts(queue)) == {second.key: pytest.approx(500, abs=40)}
    old = await first.refresh()
    assert (old.status, old.error) == (Status.ABORTED, f"replaced by {second.key}")


@pytest.mark.parametrize("ended", [False, True], ids=["waits", "has ended"])
async def test_one_that_was_called_again_during_its_run_gets_no_other_attempt(jobs: JobKit, ended: bool) -> None:
    ran, second = [], None

    @task(debounce=Debounce(5, by="doc"), retries=3)
    async def index(ctx: Context, *, doc: int = 0, n: int) -> int:
        ran.append(n)
        if n == 1:
            nonlocal second
            second = await index.enqueue(n=2)
            if ended:
                await second.abort()
            raise ValueError("the first attempt fails")
        return n

    first = await index.enqueue(n=1)
    assert await jobs.drain() == (Drained(aborted=2) if ended else Drained(complete=1, aborted=1))
    assert second is not None
    old = await first.refresh()
    assert old.error == f"replaced by {'a later call' if ended else second.key}"
    if not ended:
        assert await first.result(timeout=10) == 2
        assert (first.key, first.created) == (second.key, False)
    assert ran == ([1] if ended else [1, 2])


@pytest.mark.timings(recovery_wait=0.0)
async def test_a_job_whose_worker_died_is_not_recovered_when_a_later_call_waits(
    queue: EngineQueue, hands: Hands
) -> None:
    index = debounced()
    first = await index.enqueue(n=1)
    with clock.shifted(600):
        await queue.schedule()
        await hands.lease()
        second = await index.enqueue(n=2)
        await hands.die()
        assert await queue.recover() == [first.id]
        assert list(await starts(queue)) == [second.key]
    assert (await first.refresh()).error == f"replaced by {second.key}"


async def test_without_a_later_call_it_is_tried_again(queue: EngineQueue, hands: Hands) -> None:
    index = debounced(retries=2)
    await index.enqueue(n=1)
    with clock.shifted(600):
        await queue.schedule()
        [failed] = await hands.lease()
        await hands.retry(failed)
        [again] = await hands.lease()
        assert (again.key, again.attempts) == (failed.key, 2)


async def test_a_retry_by_hand_starts_at_once(queue: EngineQueue, hands: Hands) -> None:
    index = debounced()
    handle = await index.enqueue(n=1)
    await handle.abort()
    await queue.retry_by_hand(await handle.refresh())
    assert names(await hands.lease()) == [1]


# With limits


async def test_beside_a_limit_a_later_job_waits_for_the_end_of_the_first(queue: EngineQueue, hands: Hands) -> None:
    index = debounced(limits=(Concurrency(1, by="doc"),))
    await index.enqueue(n=1)
    with clock.shifted(600):
        await queue.schedule()
        [first] = await hands.lease()
        await index.enqueue(n=2)
        with clock.shifted(600):
            await queue.schedule()
            assert await hands.all() == []
            merged = await index.enqueue(n=3)
            assert not merged.created
            await hands.finish(first)
            assert names(await hands.all()) == [3]


async def test_a_due_job_of_another_line_is_replaced(queue: EngineQueue, hands: Hands) -> None:
    index = debounced(limits=(Concurrency(1, by="n"),))
    first = await index.enqueue(n=1)
    with clock.shifted(600):
        await queue.schedule()
        second = await index.enqueue(n=2)
        assert second.created
        with clock.shifted(600):
            await queue.schedule()
            assert names(await hands.all()) == [2]
    assert (await first.refresh()).error == f"replaced by {second.key}"


async def test_a_delayed_job_moves_to_the_line_of_the_last_call(queue: EngineQueue, hands: Hands) -> None:
    index = debounced(limits=(Concurrency(1, by="n"),))
    await index.options(expires=100).enqueue(n=1)
    await index.enqueue(n=2)
    with clock.shifted(600):
        await queue.schedule()
        [job] = await hands.all()
        assert names([job]) == [2]
        assert (await index.enqueue(n=1)).created
        await hands.finish(job)
    assert await queue.redis.exists(queue.namespace("flow:expires")) == 0
