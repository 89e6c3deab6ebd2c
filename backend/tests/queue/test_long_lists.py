"""Jobs that are aborted or replaced in a list too long to be searched: their entries stay, and nobody runs them."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from dishka import AsyncContainer
from saq.job import Status
from saq.queue.redis import RedisQueue

from app.settings import Settings
from saqueduct import EngineQueue, JobAborted, JobHandle, JobNotFound, Queues, Unique, enqueue_many
from saqueduct.queue.aborting import BeingAborted
from saqueduct.queue.maintenance import DAY, Maintenance
from saqueduct.tasks.job import Enqueued
from tests.fixtures.poll import eventually
from tests.queue.kit import marking, stock_worker, working

pytestmark = pytest.mark.usefixtures("only_own_tasks")

SHORT = 10_000
"""Entries of a list that an abort searches, at most; see `scripts/prelude.lua`."""


@pytest.fixture
def queue(queues: Queues) -> EngineQueue:
    return queues.get("default")


@pytest.fixture
def runs() -> list[str]:
    return []


@pytest.fixture
def mark(runs: list[str]) -> Any:
    return marking(runs)


Shorten = Callable[[], Awaitable[None]]


@pytest.fixture
async def shorten(queue: EngineQueue) -> Shorten:
    """The list is long from the start; removes the entries without a job of the test."""
    line = queue.namespace("queued")
    await queue.redis.rpush(line, *("filler" for _ in range(SHORT)))

    async def take_out() -> None:
        await queue.redis.ltrim(line, SHORT, -1)

    return take_out


async def in_line(queue: EngineQueue, job: JobHandle[Any]) -> int:
    entries = await cast("Any", queue.redis.lrange(queue.namespace("queued"), 0, -1))
    return int(entries.count(job.id.encode()))


async def calls_of(queue: EngineQueue, command: str) -> int:
    found = await queue.redis.info("commandstats")
    return int(found.get(f"cmdstat_{command}", {}).get("calls", 0))


async def drained_by_stock(queue: EngineQueue, stock: RedisQueue, mark: Any) -> None:
    """Let a stock worker take all that is in line, and end."""
    await mark.enqueue(name="last")
    async with stock_worker(stock, mark):
        await eventually(lambda: _is_drained(queue))


async def _is_drained(queue: EngineQueue) -> bool:
    return not await queue.redis.llen(queue.namespace("queued")) and not await queue.count("incomplete")


@pytest.mark.parametrize("ttl", [600, 0, -1], ids=["for a while", "for ever", "not at all"])
async def test_a_stock_worker_does_not_run_an_aborted_job(
    queues: Queues, queue: EngineQueue, stock: RedisQueue, mark: Any, runs: list[str], shorten: Shorten, ttl: int
) -> None:
    job = await mark.options(ttl=ttl).enqueue(name="aborted")
    await job.abort("not wanted")
    assert await in_line(queue, job) == 1
    await shorten()
    await drained_by_stock(queue, stock, mark)
    assert runs == ["last"]
    if ttl < 0:
        with pytest.raises(JobNotFound):
            await queues.find(job.key)
        return
    found = await queues.find(job.key)
    assert (found.status, found.error) == (Status.ABORTED, "not wanted")
    with pytest.raises(JobAborted, match="not wanted"):
        await job.result(timeout=60)


async def test_a_stock_worker_does_not_run_a_replaced_job(
    queue: EngineQueue, stock: RedisQueue, mark: Any, runs: list[str], shorten: Shorten
) -> None:
    replacing = mark.options(unique=Unique(on_conflict="replace"))
    old = await replacing.enqueue(name="feed")
    new = await replacing.enqueue(name="feed")
    assert await in_line(queue, old) == 1
    await shorten()
    await drained_by_stock(queue, stock, mark)
    assert sorted(runs) == ["feed", "last"]
    assert (await old.refresh()).error == f"replaced by {new.key}"


async def test_an_aborted_job_that_is_enqueued_again_is_queued_once(
    queues: Queues, queue: EngineQueue, stock: RedisQueue, mark: Any, runs: list[str], shorten: Shorten
) -> None:
    mine = mark.options(key="mine")
    await (await mine.enqueue(name="aborted")).abort()
    again = await mine.enqueue(name="again")
    assert again.created
    assert await in_line(queue, again) == 1
    assert (await queues.find("mine")).status is Status.QUEUED
    await shorten()
    await drained_by_stock(queue, stock, mark)
    assert sorted(runs) == ["again", "last"]
    assert await again.status() is Status.COMPLETE


async def test_an_entry_that_a_stock_worker_takes_at_that_moment_does_not_lead_to_the_new_job(
    queue: EngineQueue, stock: RedisQueue, mark: Any, shorten: Shorten
) -> None:
    mine = mark.options(key="mine")
    await (await mine.enqueue(name="aborted")).abort("not wanted")
    await shorten()
    # Its worker takes the entry, and reads the job in another step.
    await queue.redis.lmove(queue.namespace("queued"), queue.namespace("active"), "LEFT", "RIGHT")
    job = mine.job({"name": "again"})
    await queue.enqueuer.prepare([job])
    rows = [(job, queue.enqueuer.row_to_send(job))]
    assert await queue.enqueuer.send(rows) == [BeingAborted(by_stock=False)]
    assert await stock.job("mine") is None
    assert await queue.count("incomplete") == 0
    aborted = await queue.job("mine")
    assert aborted is not None
    assert (aborted.status, aborted.error) == (Status.ABORTED, "not wanted")
    assert await queue.enqueuer.send(rows) == [Enqueued("mine", created=True)]


async def test_an_abort_of_what_a_stock_worker_has_skipped_changes_nothing(
    queue: EngineQueue, stock: RedisQueue, mark: Any, shorten: Shorten
) -> None:
    job = await mark.enqueue(name="aborted")
    await job.abort("not wanted")
    await shorten()
    assert await stock.dequeue(timeout=1) is None
    await queue.abort(await job.refresh(), "once more")
    assert (await job.refresh()).error == "not wanted"


async def test_the_entry_goes_out_of_the_list_of_another_level(queue: EngineQueue, mark: Any) -> None:
    high = queue.namespace("queued:high")
    await queue.redis.rpush(high, *("filler" for _ in range(SHORT)))
    mine = mark.options(key="mine")
    await (await mine.options(priority="high").enqueue(name="aborted")).abort()
    await mine.enqueue(name="again")
    assert await queue.redis.llen(high) == SHORT


async def test_of_many_that_are_enqueued_again_few_are_searched_for(
    queue: EngineQueue, mark: Any, shorten: Shorten
) -> None:
    """A list of a million would be searched 500 times in one step of Redis, which takes ten seconds."""
    calls = [mark.options(key=f"key {n}").bind(name="aborted") for n in range(100)]
    for job in await enqueue_many(calls):
        await job.abort("not wanted")
    other = await mark.enqueue(name="other")
    before = await calls_of(queue, "lrem")
    again = await enqueue_many(calls[:50])
    assert await calls_of(queue, "lrem") - before < 150
    assert all(job.created for job in again)
    await shorten()
    entries = await cast("Any", queue.redis.lrange(queue.namespace("queued"), 0, -1))
    assert [entry.decode() for entry in entries] == [job.id for job in (other, *again)]
    assert {(await queue.job(f"key {n}")).error for n in range(50, 100)} == {"not wanted"}  # type: ignore[union-attr]


@pytest.mark.parametrize("ttl", [600, -1])
async def test_a_retry_by_hand_is_queued_once(
    queues: Queues, queue: EngineQueue, mark: Any, shorten: Shorten, ttl: int
) -> None:
    job = await mark.options(ttl=ttl).enqueue(name="aborted")
    kept = await job.refresh()
    await job.abort()
    again = await queue.retry_by_hand(await queue.job(job.key) or kept)
    assert again.key == job.key
    assert await in_line(queue, job) == 1
    assert await job.status() is Status.QUEUED


async def test_a_retry_by_hand_of_what_was_aborted_again_meanwhile_is_refused(
    queue: EngineQueue, mark: Any, shorten: Shorten
) -> None:
    job = await mark.enqueue(name="aborted")
    await job.abort()
    [seen] = await queue.jobs([job.key])
    assert seen is not None
    seen.ended_at, seen.completed = seen.completed - 1, 0  # type: ignore[attr-defined]
    [existing] = await queue.enqueue_many([seen])
    assert not existing.created
    assert await job.status() is Status.ABORTED


async def test_a_sweep_of_stock_workers_spares_the_job_that_was_enqueued_again(
    queues: Queues, queue: EngineQueue, stock: RedisQueue, mark: Any, shorten: Shorten
) -> None:
    mine = mark.options(key="mine")
    await (await mine.enqueue(name="aborted")).abort()
    await shorten()
    # As its worker does: the entry lies among those of running jobs until the next sweep.
    assert await stock.dequeue(timeout=1) is None
    await mine.enqueue(name="again")
    assert await stock.sweep(abort=0.01) == []
    assert (await queues.find("mine")).status is Status.QUEUED


@pytest.mark.timings(second_look=0.0)
async def test_a_sweep_spares_a_job_that_is_enqueued_again_at_that_moment(
    queues: Queues, queue: EngineQueue, stock: RedisQueue, mark: Any, shorten: Shorten, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = mark.options(key="mine")
    await (await mine.enqueue(name="aborted")).abort()
    await shorten()
    assert await stock.dequeue(timeout=1) is None
    look = queue._left_by_stock_workers

    async def enqueued_after_the_look(lock: int) -> Any:
        found = await look(lock)
        await mine.enqueue(name="again")
        return found

    monkeypatch.setattr(queue, "_left_by_stock_workers", enqueued_after_the_look)
    await queue.sweep()
    assert await queue.count("incomplete") == 1
    assert (await queues.find("mine")).status is Status.QUEUED


async def test_stock_saq_sees_the_outcome_once_an_engine_worker_has_skipped_the_entry(
    settings: Settings,
    queues: Queues,
    container: AsyncContainer,
    queue: EngineQueue,
    stock: RedisQueue,
    mark: Any,
    runs: list[str],
    shorten: Shorten,
) -> None:
    jobs = [await mark.options(ttl=ttl).enqueue(name="aborted") for ttl in (600, 0, -1)]
    for job in jobs:
        await job.abort("not wanted")
    assert [await stock.job(job.key) for job in jobs] == [None] * 3
    last = await mark.enqueue(name="last")
    await shorten()
    async with working(settings, queues, container):
        await last.result(timeout=60)
    assert runs == ["last"]
    found = [await stock.job(job.key) for job in jobs]
    assert [job and (job.status, job.error) for job in found] == [(Status.ABORTED, "not wanted")] * 2 + [None]
    assert [await queue.redis.ttl(job.id) for job in jobs][1:] == [-1, -2]
    assert 0 < await queue.redis.ttl(jobs[0].id) <= 600
    assert await queue.redis.keys("saq:default:aborted:*") == []


async def test_a_job_is_kept_as_long_as_its_ttl_says(queue: EngineQueue, mark: Any, shorten: Shorten) -> None:
    week = 7 * 24 * 3600
    keys = {ttl: (await mark.options(ttl=ttl).enqueue(name="aborted")) for ttl in (600, 2 * week, 0)}
    for job in keys.values():
        await job.abort()
    outcomes = [await queue.redis.ttl(queue.namespace(f"aborted:{job.key}")) for job in keys.values()]
    marks = [await queue.redis.ttl(job.id) for job in keys.values()]
    assert outcomes == pytest.approx([600, 2 * week, -1], abs=5)
    assert marks == pytest.approx([week, 2 * week, -1], abs=5)


async def test_finished_jobs_are_deleted_with_their_outcomes(
    queue: EngineQueue, mark: Any, shorten: Shorten, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await mark.options(ttl=0).enqueue(name="aborted")
    await job.abort()
    assert [each.key async for each in queue.iter_jobs([Status.ABORTED])] == [job.key]
    later = time.time() + 2 * DAY / 1000

    async def tomorrow() -> float:
        return later

    monkeypatch.setattr(queue.core, "time", tomorrow)
    assert await Maintenance(queue.core).delete_finished(1) == 1
    assert await queue.redis.keys(f"saq:*{job.key}*") == []
    with pytest.raises(JobNotFound):
        await job.refresh()


async def test_an_update_does_not_let_it_run(
    queue: EngineQueue, stock: RedisQueue, mark: Any, runs: list[str], shorten: Shorten
) -> None:
    job = await mark.enqueue(name="aborted")
    kept = await job.refresh()
    await job.abort("not wanted")
    await (await job.refresh()).update(meta={"seen": True})
    assert (await job.refresh()).meta == {"seen": True}
    dropped = await mark.options(ttl=-1).enqueue(name="aborted")
    kept = await dropped.refresh()
    await dropped.abort()
    await kept.update(meta={"seen": True})
    await shorten()
    await drained_by_stock(queue, stock, mark)
    assert runs == ["last"]


async def test_a_claim_counts_the_aborted_job(queue: EngineQueue, mark: Any, shorten: Shorten) -> None:
    once = mark.options(unique=Unique(period=60, states=("queued", "aborted")))
    job = await once.enqueue(name="digest")
    await job.abort()
    assert (await once.enqueue(name="digest")).key == job.key


async def test_a_new_job_that_is_sent_again_stays_aborted(queue: EngineQueue, mark: Any, shorten: Shorten) -> None:
    for options in ({}, {"unique": Unique()}):
        job = mark.options(ttl=-1, **options).job({"name": "aborted"})
        await queue.enqueuer.prepare([job])
        rows = [(job, queue.enqueuer.row_to_send(job))]
        await queue.enqueuer.send(rows)
        await queue.abort(job, "not wanted")
        # As when the answer is lost with the connection.
        assert await queue.enqueuer.send(rows) == [Enqueued(job.key, created=True)]
        assert await queue.count("incomplete") == 0


async def test_the_outbox_knows_that_it_has_ended(queue: EngineQueue, mark: Any, shorten: Shorten) -> None:
    job = await mark.enqueue(name="aborted")
    sent = await queue.job(job.key)
    assert sent is not None
    await job.abort()
    assert await queue.publish([sent], await queue.time() + 60, again=True) == [None]


async def test_an_entry_that_has_woken_a_worker_is_taken_back_too(queue: EngineQueue, mark: Any) -> None:
    job = await mark.enqueue(name="aborted")
    # As when the worker dies between the two commands that it waits with.
    await queue.redis.lmove(queue.namespace("queued"), queue.namespace("awaited"), "LEFT", "RIGHT")
    await job.abort()
    await queue.recover()
    assert await in_line(queue, job) == 0


async def test_a_job_that_a_stock_worker_runs_does_not_give_way(
    queue: EngineQueue, stock: RedisQueue, mark: Any
) -> None:
    replacing = mark.options(unique=Unique(on_conflict="replace"))
    running = await replacing.enqueue(name="feed")
    assert await stock.dequeue(timeout=1) is not None
    assert (await replacing.enqueue(name="feed")).created
    assert (await running.refresh()).error is None
