"""Inside a job: its session, the jobs enqueued with it, and its own success commit together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from saq import Job
from saq.job import Status
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from saqueduct import INJECTED, Context, Queues, Retry, get_registry, task
from saqueduct.injection.dishka import DishkaInjector
from saqueduct.postgres.recorder import JobRecorder
from saqueduct.queue.outcomes import Outcome
from saqueduct.tasks import current_job
from saqueduct.tasks.completion import Ended
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import RECOVERIES
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, record_of


@pytest.fixture(autouse=True)
async def notes(engine: AsyncEngine) -> None:
    """A table that the jobs of these tests write to."""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS notes (job text)"))
        await connection.execute(text("TRUNCATE notes"))


async def noted(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM notes"))).scalar_one())


with get_registry().isolated():

    @task
    async def follow_up(ctx: Context) -> None: ...

    @task(retries=2)
    async def note(ctx: Context, *, fail: bool = False, db_session: AsyncSession = INJECTED) -> str:
        """Write a note, and enqueue another job with it."""
        await db_session.execute(text("INSERT INTO notes VALUES (:job)"), {"job": ctx["job"].key})
        await follow_up.within(db_session).enqueue()
        if fail:
            raise ValueError("after the note")
        return "noted"


@pytest.fixture(autouse=True)
def tasks(own_tasks: None) -> None:
    for each in (follow_up, note):
        get_registry().add(each)


async def test_what_a_job_wrote_its_follow_up_and_its_success_commit_together(
    jobs: JobKit, engine: AsyncEngine, records: Look
) -> None:
    job = await note.enqueue()
    await jobs.drain()
    assert await noted(engine) == 1
    assert (await record_of(records, job.key, "complete")).result == "noted"

    async def followed() -> bool:
        return any((row.task, row.parent) == ("follow_up", job.key) for row in await records())

    await eventually(followed)


async def test_a_job_that_fails_leaves_neither_rows_nor_jobs(
    jobs: JobKit, engine: AsyncEngine, outbox: Look, records: Look
) -> None:
    job = await note.enqueue(fail=True)
    await jobs.drain()
    assert await noted(engine) == 0
    assert list(await outbox()) == []
    assert jobs.all_enqueued(follow_up) == []
    assert len((await record_of(records, job.key, "failed")).errors) == 2


async def test_a_job_whose_worker_died_after_the_commit_is_not_done_twice(
    jobs: JobKit, queues: Queues, engine: AsyncEngine, records: Look
) -> None:
    job = await note.enqueue()
    await jobs.drain()
    await record_of(records, job.key, "complete")
    await put_back(queues, job.key)
    await jobs.drain()
    assert await job.result(timeout=60) == "noted"
    assert await noted(engine) == 1
    assert len(await records()) == 2


async def test_nor_while_records_are_locked_and_other_jobs_commit_without_theirs(
    jobs: JobKit, queues: Queues, engine: AsyncEngine, records: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    completed, asked = JobRecorder.completed, []

    async def unknown_at_first(self: JobRecorder, job: Job) -> Ended | None:
        asked.append(job.key)
        return await completed(self, job) if len(asked) > 1 else None

    job = await note.enqueue()
    await jobs.drain()
    await record_of(records, job.key, "complete")
    await put_back(queues, job.key)
    monkeypatch.setattr(JobRecorder, "completed", unknown_at_first)
    recorder = queues.get("default").recorder
    assert isinstance(recorder, JobRecorder)
    recorder.suspend()
    await jobs.drain()
    assert await job.result(timeout=60) == "noted"
    assert await noted(engine) == 1


async def put_back(queues: Queues, key: str) -> None:
    """As if its worker had died after the commit, and before Redis knew."""
    queue = queues.get("default")
    stored = await queue.job(key)
    assert stored is not None
    stored.status, stored.result, stored.completed, stored.attempts = Status.QUEUED, None, 0, 0
    stored.meta[RECOVERIES] = 1
    await queue.settler.settle([Outcome.release(queue.core, stored)])


@pytest.mark.parametrize("suspended", [False, True])
async def test_an_attempt_that_another_one_overtook_is_rolled_back(
    jobs: JobKit, queues: Queues, engine: AsyncEngine, records: Look, suspended: bool
) -> None:
    """After a blocked event loop also while PostgreSQL seems not to answer: time limits have passed meanwhile."""

    @task
    async def overtaken(ctx: Context, *, db_session: AsyncSession = INJECTED) -> str:
        await db_session.execute(text("INSERT INTO notes VALUES ('mine')"))
        queue, mine = queues.get("default"), ctx["job"]
        recorder, job = queue.recorder, queue.copy(mine)
        job.status, job.result, job.completed = Status.COMPLETE, "the other's", 1
        assert isinstance(recorder, JobRecorder)
        assert isinstance(mine, EngineJob)
        recorder.add([job])
        await record_of(records, job.key, "complete")
        if suspended:
            recorder.suspend()
            mine.offered = True
        return "mine"

    job = await overtaken.enqueue()
    await jobs.drain()
    assert await job.result(timeout=60) == "the other's"
    assert await noted(engine) == 0


async def test_without_postgresql_attempts_of_dead_workers_begin_all_the_same(
    jobs: JobKit, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many at once: SQLAlchemy's pool leaves those waiting that come after its first failures."""
    nowhere = create_async_engine("postgresql+asyncpg://127.0.0.1:1/none", pool_size=1, max_overflow=1)
    ran: set[str] = set()

    @task(durable=True, timeout=8)
    async def durable(ctx: Context) -> None:
        ran.add(ctx["job"].key)

    waiting = [durable.job({}) for _ in range(40)]
    for job in waiting:
        job.meta[RECOVERIES] = 1
    await queues.get("default").enqueue_many(waiting)
    monkeypatch.setattr(queues.get("default").recorder, "engine", nowhere)
    await jobs.drain()
    assert ran == {job.key for job in waiting}


@pytest.mark.parametrize("waits_for", ["PostgreSQL", "its session"])
async def test_the_function_of_an_offered_job_is_called_once_it_is_decided_whose_it_is(
    waits_for: str, jobs: JobKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its attempt waited for while the event loop was blocked."""
    waited, decided = asyncio.Event(), list[bool]()

    def offer(job: Any) -> None:
        job.offered = True

        def decide() -> None:
            decided.append(True)
            job.offered = False

        waited.set()
        asyncio.get_running_loop().call_later(0.3, decide)

    @task(retries=2, retry_delay=0.01)
    async def innocent(ctx: Context, *, db_session: AsyncSession = INJECTED) -> bool:
        if ctx["job"].attempts == 1 and waits_for == "PostgreSQL":
            raise Retry(delay=0.01)
        return bool(decided)

    looked_up, opened = JobRecorder.completed, DishkaInjector.scope

    async def completed(recorder: JobRecorder, job: EngineJob) -> Any:
        found = await looked_up(recorder, job)
        offer(job)
        return found

    @asynccontextmanager
    async def scope(injector: DishkaInjector, injected: Any) -> AsyncIterator[Any]:
        async with opened(injector, injected) as found:
            offer(current_job.job.get())
            yield found

    if waits_for == "PostgreSQL":
        monkeypatch.setattr(JobRecorder, "completed", completed)
    else:
        monkeypatch.setattr(DishkaInjector, "scope", scope)
    handle = await innocent.enqueue()
    await jobs.drain()
    assert waited.is_set()
    assert await handle.result(timeout=60) is True
