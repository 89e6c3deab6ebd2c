"""A retry is the same retry wherever it is asked for: over HTTP, on SAQ's page, in SAQ's API."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from saq.job import Status
from saq.queue.redis import RedisQueue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.settings import Settings
from saqueduct import INJECTED, Context, Queues, get_registry, task
from saqueduct.errors import JobConflict
from saqueduct.tasks.job import EngineJob
from saqueduct.testing import JobKit
from tests.fixtures.clients import patient
from tests.postgres.store.conftest import Look, record_of

Retry = Callable[[str, httpx.AsyncClient, Queues], Awaitable[None]]

broken = True

with get_registry().isolated():

    @task(retries=1)
    async def note(ctx: Context, *, db_session: AsyncSession = INJECTED) -> str:
        """Write a note; fail while its cause is not fixed."""
        await db_session.execute(text("INSERT INTO notes VALUES (:job)"), {"job": ctx["job"].key})
        if broken:
            raise ValueError("the cause")
        return "noted"


@pytest.fixture(autouse=True)
async def notes(engine: AsyncEngine, own_tasks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.postgres.store.test_retries.broken", True)
    get_registry().add(note)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS notes (job text)"))
        await connection.execute(text("TRUNCATE notes"))


async def over_http(key: str, client: httpx.AsyncClient, queues: Queues) -> None:
    assert (await client.post(f"/jobs/{key}/retry")).status_code == 202


async def on_saqs_page(key: str, client: httpx.AsyncClient, queues: Queues) -> None:
    assert (await client.post(f"/saq/api/queues/default/jobs/{key}/retry")).status_code == 202


async def on_a_job(key: str, client: httpx.AsyncClient, queues: Queues) -> None:
    job = await queues.get("default").job(key)
    assert job is not None
    await job.retry("by hand")
    assert (job.status, job.attempts, job.error) == (Status.QUEUED, 0, "by hand")


async def through_saqs_proxy(key: str, client: httpx.AsyncClient, queues: Queues) -> None:
    queue = queues.get("default")
    job = await queue.job(key)
    assert job is not None
    # What `saq.queue.http.HttpProxy` does with a job that came over HTTP.
    received = queue.deserialize(queue.serialize(job))
    assert received is not None
    await queue.retry(received, error="by hand")


@pytest.fixture(params=[over_http, on_saqs_page, on_a_job, through_saqs_proxy], ids=lambda each: each.__name__)
def retry(request: pytest.FixtureRequest) -> Retry:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("durable", [False, True])
async def test_a_retried_job_is_done_once_and_is_a_dead_letter_no_more(
    client: httpx.AsyncClient,
    queues: Queues,
    jobs: JobKit,
    engine: AsyncEngine,
    records: Look,
    retry: Retry,
    durable: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handle = await note.options(durable=durable).enqueue()
    await jobs.drain()
    await record_of(records, handle.key, "failed")
    monkeypatch.setattr("tests.postgres.store.test_retries.broken", False)
    await retry(handle.key, client, queues)
    letter = await record_of(records, handle.key, "failed")
    assert letter.resolution == "retried"
    await jobs.drain()
    assert await handle.result(timeout=60) == "noted"
    record = await record_of(records, handle.key, "complete")
    assert (record.round, record.attempts, record.result) == (1, 1, "noted")
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM notes"))).scalar_one() == 1
    assert (await client.post(f"/dead-letters/{handle.key}/replay")).status_code == 404


async def test_a_job_that_a_stock_process_retried_is_done_once(
    settings: Settings,
    queues: Queues,
    jobs: JobKit,
    engine: AsyncEngine,
    records: Look,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handle = await note.enqueue()
    await jobs.drain()
    await record_of(records, handle.key, "failed")
    monkeypatch.setattr("tests.postgres.store.test_retries.broken", False)
    stock = RedisQueue(patient(settings.redis.url.reveal()), "default")
    job = await stock.job(handle.key)
    assert job is not None
    await job.retry("by a stock process")
    await stock.disconnect()
    await jobs.drain()
    assert await handle.result(timeout=60) == "noted"
    assert (await record_of(records, handle.key, "complete")).attempts == 2
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM notes"))).scalar_one() == 1


async def test_of_two_retries_at_once_one_is_refused(queues: Queues, jobs: JobKit) -> None:
    handle = await note.enqueue()
    await jobs.drain()
    first, second = await asyncio.gather(*(queues.retry(handle.key) for _ in range(2)), return_exceptions=True)
    assert sorted([type(first).__name__, type(second).__name__]) == ["EngineJob", "JobConflict"]


async def test_a_retry_of_what_has_been_retried_and_has_ended_since_is_refused(queues: Queues, jobs: JobKit) -> None:
    handle = await note.enqueue()
    await jobs.drain()
    queue = queues.get("default")
    as_it_ended = await queue.job(handle.key)
    assert as_it_ended is not None
    await queues.retry(handle.key)
    await jobs.drain()

    async def looked_before(_: str) -> EngineJob | None:
        return as_it_ended

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue.reader, "job", looked_before)
        with pytest.raises(JobConflict):
            await as_it_ended.retry("by one who looked before")
    assert jobs.all_enqueued(note) == []


async def test_many_durable_jobs_are_retried_at_once(queues: Queues, jobs: JobKit, records: Look) -> None:
    handles = [await note.options(durable=True).enqueue() for _ in range(20)]
    await jobs.drain()
    for handle in handles:
        await record_of(records, handle.key, "failed")
    await asyncio.gather(*(queues.retry(handle.key) for handle in handles))
    assert {(each.status, each.resolution) for each in await records()} == {("failed", "retried")}
    assert len(jobs.all_enqueued(note)) == len(handles)
