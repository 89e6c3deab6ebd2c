"""Job records while PostgreSQL is away, hangs or refuses one of them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from dishka import AsyncContainer
from saq.job import Status
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.settings import Settings
from saqueduct import INJECTED, Context, Queues, QueueUnavailable, Task, task
from saqueduct.postgres.store import PostgresStore
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import TAGS
from saqueduct.timings import PostgresTimings
from saqueduct.worker.worker import EngineWorker
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, record_of
from tests.queue.kit import working


@pytest.fixture
async def worker(settings: Settings, queues: Queues, container: AsyncContainer) -> AsyncIterator[EngineWorker]:
    async with working(settings, queues, container, schedules=False) as worker:
        yield worker


def succeeded(task: Task[..., Any], queues: Queues) -> EngineJob:
    """A job of a task that has completed at its first attempt."""
    job = task.job({})
    job.queue, job.attempts, job.status = queues.get("default"), 1, Status.COMPLETE
    job.queued = job.started = job.completed = 1
    return job


async def test_workers_go_on_while_postgresql_is_away_and_records_wait(
    worker: EngineWorker, engine: AsyncEngine, store: PostgresStore, records: Look, caplog: pytest.LogCaptureFixture
) -> None:
    @task
    async def go_on(ctx: Context) -> int:
        return 1

    worker.functions["go_on"] = go_on.runner
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE job_records RENAME TO job_records_away"))
    try:
        with caplog.at_level(logging.WARNING):
            jobs: list[Any] = [await go_on.enqueue() for _ in range(20)]
            assert [await job.result(timeout=60) for job in jobs] == [1] * 20
            await eventually(lambda: store.recorder.away_since is not None)
        assert caplog.text.count("PostgreSQL does not accept them") == 1
        # A result may arrive before its worker has noted it.
        await eventually(lambda: len(store.recorder) == 20)
        assert not store.recorder.full

        async def reported() -> bool:
            return any("20 wait, 0 were dropped" in problem for problem in await worker.queue.problems())  # type: ignore[attr-defined]

        await eventually(reported)
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE job_records_away RENAME TO job_records"))

    async def all_there() -> bool:
        return len(await records()) == 20

    await eventually(all_there)
    await eventually(lambda: store.recorder.away_since is None)


@pytest.mark.sizes(full_records=3)
@pytest.mark.timings(postgres=PostgresTimings(write=0.5))
async def test_workers_go_on_while_postgresql_does_not_answer(
    worker: EngineWorker,
    engine: AsyncEngine,
    store: PostgresStore,
    records: Look,
    caplog: pytest.LogCaptureFixture,
) -> None:
    @task
    async def go_on(ctx: Context) -> int:
        return 1

    worker.functions["go_on"] = go_on.runner
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE job_records"))
        for _ in range(20):
            assert await (await go_on.enqueue()).result(timeout=60) == 1
        assert "does not accept them: no answer" in caplog.text

    async def all_there() -> bool:
        return len(await records()) == 20

    await eventually(all_there)


async def test_records_that_are_under_way_when_the_process_ends_are_reported_as_lost(
    queues: Queues, store: PostgresStore, engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    @task
    async def lost(ctx: Context) -> None: ...

    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE job_records"))
        for _ in range(5):
            job = succeeded(lost, queues)
            store.recorder.add([job])
        await eventually(lambda: not store.recorder._waiting)
        await store.recorder.flush(0.1)
    assert "5 job records are lost" in caplog.text
    store.recorder._waiting.clear()


@pytest.mark.sizes(waiting_records=3)
async def test_the_buffer_is_bounded_and_drops_the_oldest(
    queues: Queues,
    store: PostgresStore,
    caplog: pytest.LogCaptureFixture,
    engine: AsyncEngine,
) -> None:
    @task
    async def dropped(ctx: Context) -> None: ...

    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE job_records"))
        for _ in range(10):
            store.recorder.add([succeeded(dropped, queues)])
            await asyncio.sleep(0)
    assert store.recorder.dropped > 0
    assert caplog.text.count("are dropped") == 1
    await eventually(lambda: len(store.recorder) == 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"key": "".join(f"{number:x}" for number in range(2000))},
        {"key": "a\0b"},
        {"key": "a\0b", "attempts": 2},
        {"attempts": 40_000},
        {"meta": {TAGS: "not a list"}},
        {"meta": {TAGS: {"a": 1}}},
    ],
    ids=("long key", "NUL", "NUL later", "many attempts", "tags of text", "tags by name"),
)
async def test_a_record_that_postgresql_refuses_keeps_no_other_from_being_written(
    queues: Queues, store: PostgresStore, records: Look, caplog: pytest.LogCaptureFixture, fields: dict[str, Any]
) -> None:
    @task
    async def refused(ctx: Context) -> None: ...

    for changes in (fields, {"key": "good"}):
        job = succeeded(refused, queues)
        for name, value in changes.items():
            setattr(job, name, value)
        store.recorder.add([job])
    await eventually(lambda: len(store.recorder) == 0 or store.recorder.away_since is not None)
    await record_of(records, "good", "complete")
    assert store.recorder.problem == ""
    assert caplog.text.count("cannot be written") == 1


async def test_a_postgresql_that_drops_its_connections_costs_no_record(
    worker: EngineWorker, engine: AsyncEngine, store: PostgresStore, records: Look
) -> None:
    @task
    async def go_on(ctx: Context, *, number: int, db_session: AsyncSession = INJECTED) -> int:
        if number % 2:
            await db_session.execute(text("SELECT 1"))
        return number

    @task(durable=True)
    async def durably(ctx: Context, *, number: int) -> int:
        return number

    worker.functions |= {each.name: each.runner for each in (go_on, durably)}
    handles = []
    for number in range(60):
        if number % 20 == 10:
            async with engine.connect() as connection:
                query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                await connection.execute(text(f"{query} AND datname = current_database()"))
        # A connection that was just dropped may fail one call; the caller of a durable job gets the error.
        with suppress(QueueUnavailable):
            handles.append(await (durably if number % 3 else go_on).options(retries=3).enqueue(number=number))
    for handle in handles:
        await handle.result(timeout=60)

    async def all_there() -> bool:
        return {row.key for row in await records() if row.status == "complete"} >= {handle.key for handle in handles}

    await eventually(all_there)
