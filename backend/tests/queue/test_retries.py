"""Retries and aborts of jobs that have not ended, or have: refused the same way from everywhere."""

import asyncio
import dataclasses
from typing import Any

import httpx
import pytest
from dishka import AsyncContainer
from saq.job import Status
from sqlalchemy.ext.asyncio import AsyncEngine

from app.settings import Settings, load_settings
from saqueduct import Context, Queues, Unique, task
from saqueduct.errors import JobConflict
from saqueduct.tasks.job_meta import ROUND
from saqueduct.testing import JobKit
from saqueduct.worker.attempt import Attempt
from tests.fixtures.poll import eventually
from tests.queue.kit import marking, working

pytestmark = pytest.mark.usefixtures("only_own_tasks")

SAQ = "/saq/api/queues/default/jobs"


async def test_a_job_that_runs_or_waits_is_not_retried(
    settings: Settings,
    queues: Queues,
    container: AsyncContainer,
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, asked = asyncio.Event(), asyncio.Event()
    runs: list[str] = []

    @task(timeout=60)
    async def endless(ctx: Context) -> None:
        runs.append(ctx["job"].key)
        started.set()
        await asyncio.Event().wait()

    waits = await endless.options(delay=3600).enqueue()
    async with working(settings, queues, container) as worker:
        notice = worker.abort

        async def notice_later(threshold: float) -> None:
            await asked.wait()
            await notice(threshold)

        # Before it starts: an aborted job could be retried.
        monkeypatch.setattr(worker, "abort", notice_later)
        runs_on = await endless.enqueue()
        await started.wait()
        for key in (runs_on.key, waits.key):
            assert (await client.post(f"/jobs/{key}/retry")).status_code == 409
            assert (await client.post(f"{SAQ}/{key}/retry")).status_code == 409
            job = await queues.get("default").job(key)
            assert job is not None
            with pytest.raises(JobConflict, match="cannot be retried"):
                await job.retry("by hand")
        await runs_on.abort("not wanted")
        assert (await client.post(f"{SAQ}/{runs_on.key}/retry")).status_code == 409
        asked.set()
        await eventually(runs_on.done)
    assert runs == [runs_on.key]
    assert await runs_on.status() is Status.ABORTED
    assert await queues.get("default").count("queued") == 0


async def test_a_job_that_a_stock_worker_has_is_not_retried_by_those_who_look_at_it(queues: Queues) -> None:
    queue = queues.get("default")
    handle = await marking([]).enqueue(name="x")
    taken = await queue.dequeue(timeout=1)
    assert taken is not None
    looked_at = await queue.job(handle.key)
    assert looked_at is not None
    with pytest.raises(JobConflict):
        await looked_at.retry("by hand")
    # Its worker does, after an attempt that failed.
    await taken.retry("failed")
    assert await queue.redis.llen(queue.namespace("active")) == 0
    again = await queue.dequeue(timeout=1)
    assert again is not None
    assert (again.key, again.error) == (handle.key, "failed")


async def test_a_stock_worker_whose_job_was_taken_from_it_does_not_queue_it_again(queues: Queues) -> None:
    queue = queues.get("default")
    await marking([]).enqueue(name="x")
    taken = await queue.dequeue(timeout=1)
    assert taken is not None
    # Swept, and queued again.
    await queue.redis.lmove(queue.namespace("active"), queue.namespace("queued"), "LEFT", "RIGHT")
    await taken.retry("failed")
    assert await queue.redis.llen(queue.namespace("queued")) == 1


async def test_who_lost_a_job_does_not_end_it(queues: Queues) -> None:
    queue = queues.get("default")
    handle = await marking([]).enqueue(name="x")
    taken = await queue.dequeue(timeout=1)
    assert taken is not None
    # Swept, queued again, and leased by another worker.
    await queue.redis.delete(queue.namespace("active"))
    await queue.redis.rpush(queue.namespace("queued"), taken.id)
    await queue.scripts.run("lease", 1, "another", 60)
    await taken.finish(Status.COMPLETE, result="of a zombie")
    job = await handle.refresh()
    assert (job.status, job.result) == (Status.ACTIVE, None)


async def test_a_job_that_has_ended_since_it_was_read_is_not_said_to_be_aborted(queues: Queues) -> None:
    queue = queues.get("default")
    handle = await marking([]).enqueue(name="x")
    read = await queue.job(handle.key)
    assert read is not None
    await handle.abort("by somebody else")
    with pytest.raises(JobConflict, match="is aborted and cannot be aborted"):
        await queue.abort_by_hand(read, "by me")
    assert (await handle.refresh()).error == "by somebody else"


async def test_a_job_that_has_ended_is_not_aborted_on_saqs_page_either(
    queues: Queues, client: httpx.AsyncClient
) -> None:
    handle = await marking([]).enqueue(name="x")
    assert (await client.post(f"{SAQ}/{handle.key}/abort")).status_code == 202
    assert (await handle.refresh()).error == "aborted from ui"
    assert (await client.post(f"{SAQ}/{handle.key}/abort")).status_code == 409
    assert (await client.delete(f"/jobs/{handle.key}")).status_code == 409


async def test_an_abort_by_an_old_look_at_a_job_ends_it_as_it_is_now(queues: Queues) -> None:
    queue = queues.get("default")
    handle = await marking([]).enqueue(name="x")
    before = await queue.job(handle.key)
    assert before is not None
    await queues.abort(handle.key)
    await queues.retry(handle.key)
    await before.abort("by one who looked before")
    stored = await queues.find(handle.key)
    assert (stored.status, stored.meta.get(ROUND)) == (Status.ABORTED, 1)


@pytest.fixture
def no_grace(environment: dict[str, str]) -> Settings:
    """For jobs that never end: their worker would wait for them at its end."""
    return load_settings(environment | {"WORKER_GRACE_PERIOD": "0"})


async def test_one_job_does_not_keep_the_aborts_of_others_from_being_noticed(
    no_grace: Settings, queues: Queues, container: AsyncContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    @task(timeout=60)
    async def endless(ctx: Context, *, spoils: bool = False) -> None:
        if spoils:
            vars(ctx["job"]).update(heartbeat="spoilt", touched="spoilt")
        started.append(ctx["job"].key)
        await asyncio.Event().wait()

    abort = Attempt.abort

    def fails_for_some(self: Attempt, reason: str) -> None:
        if reason == "cannot be":
            raise ValueError("no outcome")
        abort(self, reason)

    monkeypatch.setattr(Attempt, "abort", fails_for_some)
    _, stubborn, other = [await endless.enqueue(spoils=spoils) for spoils in (True, False, False)]
    async with working(no_grace, queues, container):
        await eventually(lambda: len(started) == 3)
        await stubborn.abort("cannot be")
        await other.abort("not wanted")
        await eventually(other.done)
    assert (await other.refresh()).error == "not wanted"


async def test_a_job_that_runs_twice_on_a_worker_does_not_keep_aborts_from_being_noticed(
    no_grace: Settings, queues: Queues, container: AsyncContainer
) -> None:
    started: list[str] = []

    @task(timeout=60)
    async def endless(ctx: Context) -> None:
        started.append(ctx["job"].key)
        await asyncio.Event().wait()

    doubled, other = await endless.enqueue(), await endless.enqueue()
    queue = queues.get("default")
    async with working(no_grace, queues, container):
        await eventually(lambda: len(started) == 2)
        # As after a lost lease: the job is queued again while its first attempt still runs here.
        async with queue.redis.pipeline(transaction=True) as pipe:
            pipe.hdel(queue.namespace("owners"), doubled.id)
            pipe.zrem(queue.namespace("leases"), doubled.id)
            pipe.rpush(queue.namespace("queued"), doubled.id)
            await pipe.execute()
        await eventually(lambda: len(started) == 3)
        await other.abort("not wanted")
        await eventually(other.done)


UNIQUE = {
    "of the task": Unique(),
    "for some arguments": Unique(by=("user_id",)),
    "that would raise": Unique(on_conflict="raise"),
    "that would replace": Unique(on_conflict="replace"),
    "for a period": Unique(period=60, states=("queued", "active", "failed")),
}


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("unique", UNIQUE.values(), ids=UNIQUE)
async def test_a_unique_job_that_is_retried_claims_its_arguments_again(
    queues: Queues, jobs: JobKit, engine: AsyncEngine, unique: Unique, durable: bool
) -> None:
    @task(unique=unique, durable=durable)
    async def rebuild(ctx: Context, *, user_id: int) -> None:
        raise ValueError("the cause")

    handle = await rebuild.enqueue(user_id=7)
    await jobs.drain()
    await queues.retry(handle.key)
    # Another one does not run beside it.
    other = rebuild.options(unique=dataclasses.replace(unique, on_conflict="ignore"))
    assert ((await other.enqueue(user_id=7)).created, (await other.enqueue(user_id=8)).created) == (False, True)


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("by_call", [False, True])
@pytest.mark.parametrize("on_conflict", ["ignore", "raise", "replace"])
async def test_a_unique_job_is_not_retried_beside_another_with_its_arguments(
    queues: Queues, jobs: JobKit, engine: AsyncEngine, on_conflict: Any, by_call: bool, durable: bool
) -> None:
    unique = Unique(on_conflict=on_conflict)

    @task(unique=None if by_call else unique, durable=durable)
    async def rebuild(ctx: Context, *, user_id: int) -> None:
        raise ValueError("the cause")

    calls = rebuild.options(unique=unique)
    handle = await calls.enqueue(user_id=7)
    await jobs.drain()
    existing = await calls.enqueue(user_id=7)
    assert existing.created
    with pytest.raises(JobConflict, match=rf"unique like '{existing.key}'.*cannot be retried"):
        await queues.retry(handle.key)
    assert [job.key for job in jobs.all_enqueued(rebuild)] == [existing.key]
