"""Durable jobs: PostgreSQL remembers them until they have ended, whatever becomes of Redis."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
from saq import Job
from saq.job import Status
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.settings import Settings
from saqueduct import (
    INJECTED,
    ConfigurationError,
    Context,
    EngineQueue,
    Queues,
    QueueUnavailable,
    Unique,
    enqueue_many,
    get_registry,
    scheduled_task,
    task,
)
from saqueduct.broker.connections import Connections
from saqueduct.broker.transport import Lines
from saqueduct.common import clock
from saqueduct.errors import DuplicateJob
from saqueduct.postgres.store import PostgresStore
from saqueduct.testing import JobKit
from saqueduct.timings import PostgresTimings
from saqueduct.worker.ticker import Ticker
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, record_of

RUNS: list[int] = []


with get_registry().isolated():

    @task(durable=True)
    async def count(ctx: Context, *, number: int = 0) -> int:
        RUNS.append(number)
        return number


@pytest.fixture(autouse=True)
def counting(own_tasks: None) -> None:
    get_registry().add(count)
    RUNS.clear()


async def test_a_unique_durable_job_for_which_another_exists_is_refused(outbox: Look) -> None:
    once = count.options(unique=Unique(on_conflict="raise"))
    first = await once.enqueue(number=1)
    for again in (partial(once.enqueue, number=1), partial(enqueue_many, [once.bind(number=1), once.bind(number=2)])):
        with pytest.raises(DuplicateJob) as caught:
            await again()
        assert caught.value.existing == first.key
    assert len(await outbox()) == 2


async def test_a_durable_job_stays_in_the_outbox_until_it_has_ended(jobs: JobKit, outbox: Look, records: Look) -> None:
    job = await count.enqueue(number=1)
    [row] = await outbox()
    assert (row.key, row.durable, row.published_at is not None) == (job.key, True, True)
    await jobs.drain()
    assert list(await outbox()) == []
    assert (await record_of(records, job.key, "complete")).result == 1


async def test_a_call_makes_its_jobs_durable_or_not(jobs: JobKit, outbox: Look) -> None:
    await count.options(durable=False).enqueue()
    assert list(await outbox()) == []
    await count.enqueue()
    assert len(await outbox()) == 1


async def test_what_redis_has_lost_is_enqueued_again(default: EngineQueue, store: PostgresStore, jobs: JobKit) -> None:
    handles = await enqueue_many(count.bind(number=number) for number in range(50))
    await store.publisher.flush(30)
    await default.redis.flushall()
    await store.relay.reconcile([default])
    assert await default.count("queued") == 50
    await jobs.drain()
    assert sorted(RUNS) == list(range(50))
    assert await handles[7].result(timeout=60) == 7


async def test_what_redis_knows_is_not_enqueued_again(default: EngineQueue, store: PostgresStore, jobs: JobKit) -> None:
    await count.options(delay=3600).enqueue()
    await count.enqueue()
    leased = await count.options(priority="high").enqueue()
    await default.scripts.run("lease", 1, "somebody", 60)
    assert await leased.status() is Status.ACTIVE
    before = {name: await default.count(name) for name in ("queued", "active", "incomplete")}
    await store.publisher.flush(30)
    await store.relay.reconcile([default])
    assert {name: await default.count(name) for name in before} == before  # type: ignore[arg-type]


async def test_a_job_that_ended_where_postgresql_could_not_know_is_let_go(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, outbox: Look, records: Look
) -> None:
    job = await count.enqueue(number=3)
    # A stock worker knows nothing of PostgreSQL.
    stored = await default.job(job.key)
    assert stored is not None
    default.recorder = None
    stored.completed = 1
    await stored.finish(Status.COMPLETE, result=3)
    assert len(await outbox()) == 1
    default.recorder = store.recorder
    await store.relay.reconcile([default])
    assert (await record_of(records, job.key, "complete")).result == 3

    async def gone() -> bool:
        return not await outbox()

    await eventually(gone)
    await store.relay.reconcile([default])
    assert await default.count("incomplete") == 0


async def test_one_whose_record_postgresql_refuses_does_not_run_again(
    queues: Queues, store: PostgresStore, jobs: JobKit, outbox: Look
) -> None:
    call = count.options(keep_result=False).bind(number=8)
    call.job.attempts = 40_000
    await enqueue_many([call])
    await jobs.drain()

    async def gone() -> bool:
        return not await outbox()

    await eventually(gone)
    store.relay._forgotten_after = 0.0
    await store.relay.reconcile([queues.get("default")])
    await jobs.drain()
    assert RUNS == [8]


async def test_an_aborted_durable_job_does_not_come_back(
    default: EngineQueue, store: PostgresStore, outbox: Look, records: Look
) -> None:
    job = await count.options(keep_result=False).enqueue()
    await job.abort("not wanted")
    await record_of(records, job.key, "aborted")

    async def gone() -> bool:
        return not await outbox()

    await eventually(gone)
    await store.relay.reconcile([default])
    assert await default.count("incomplete") == 0


async def test_its_end_counts_once(queues: Queues, store: PostgresStore, jobs: JobKit, records: Look) -> None:
    job = await count.enqueue()
    ended = await queues.get("default").job(job.key)
    assert ended is not None
    ended.status, ended.result, ended.completed = Status.COMPLETE, 0, 1
    assert await store.recorder.close([ended, ended]) == [True, False]
    assert await store.recorder.close([ended]) == [False]
    assert len(await records()) == 1


async def test_one_that_completed_before_redis_lost_everything_does_not_run_again(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, outbox: Look
) -> None:
    await count.enqueue(number=4)
    await jobs.drain()
    await default.redis.flushall()
    await store.relay.reconcile([default])
    await jobs.drain()
    assert RUNS == [4]


async def test_it_is_taken_while_redis_is_away_and_enqueued_later(
    settings: Settings,
    queues: Queues,
    store: PostgresStore,
    jobs: JobKit,
    outbox: Look,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = queues.get("default")
    there = queue.scripts.lines
    away = Connections("redis://127.0.0.1:1").client("default")
    monkeypatch.setattr(queue.scripts, "lines", Lines(away))
    await count.enqueue(number=5)
    [row] = await outbox()
    assert row.published_at is None
    monkeypatch.setattr(queue.scripts, "lines", there)
    assert await store.relay.look([queue], grace=0.0) == 1
    await jobs.drain()
    assert RUNS == [5]
    await away.aclose()


async def test_the_ticks_of_a_durable_schedule_are_durable(queues: Queues, store: PostgresStore, outbox: Look) -> None:
    @scheduled_task(every=3600.0, durable=True)
    async def hourly(ctx: Context) -> None: ...

    queue = queues.get("default")
    ticker = Ticker(queue, [hourly], dt.UTC)
    await ticker.declare()
    with clock.shifted(3601):
        await ticker.tick()
    [row] = await outbox()
    assert row.key.startswith("cron:hourly:")
    assert row.published_at is not None


@asynccontextmanager
async def before_its_row(store: PostgresStore) -> AsyncIterator[None]:
    """The jobs of schedules are run before PostgreSQL knows of them, which it does at the end of the block."""
    adopt, late = store.adopt, list[tuple[EngineQueue, Sequence[Job]]]()

    async def later(queue: EngineQueue, jobs: Sequence[Job]) -> None:
        late.append((queue, jobs))

    store.adopt = later  # type: ignore[method-assign]
    yield
    store.adopt = adopt  # type: ignore[method-assign]
    assert late
    for queue, jobs in late:
        await adopt(queue, jobs)


async def test_a_job_of_a_schedule_that_ends_before_its_row_is_written_is_done_once_and_recorded(
    default: EngineQueue,
    queues: Queues,
    store: PostgresStore,
    jobs: JobKit,
    engine: AsyncEngine,
    outbox: Look,
    records: Look,
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS ticks (number int)"))
        await connection.execute(text("TRUNCATE ticks"))

    @scheduled_task(every=3600.0, durable=True, ttl=-1)
    async def writing(ctx: Context, *, db_session: AsyncSession = INJECTED) -> str:
        await db_session.execute(text("INSERT INTO ticks VALUES (1)"))
        return "written"

    @scheduled_task(every=3600.0, durable=True, ttl=-1)
    async def failing(ctx: Context) -> None:
        RUNS.append(1)
        raise ValueError("broken")

    async with before_its_row(store):
        for each in (writing, failing):
            await queues.trigger_schedule(each.name)
        await jobs.drain()
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM ticks"))).scalar_one() == 1
    assert {(row.task, row.status) for row in await records()} == {("writing", "complete"), ("failing", "failed")}
    assert list(await outbox()) == []
    await store.relay.reconcile([default])
    await jobs.drain()
    assert RUNS == [1]


async def test_a_job_of_a_schedule_without_a_record_that_ends_before_its_row_is_written_is_done_once(
    default: EngineQueue,
    queues: Queues,
    store: PostgresStore,
    jobs: JobKit,
    outbox: Look,
) -> None:
    @scheduled_task(every=3600.0, durable=True, ttl=-1, record="none")
    async def brief(ctx: Context) -> None:
        RUNS.append(1)

    async with before_its_row(store):
        await queues.trigger_schedule("brief")
        await jobs.drain()
    await store.relay.reconcile([default])
    await jobs.drain()
    assert RUNS == [1]
    store.relay.timings = PostgresTimings(early_end_kept=0.0)
    await store.relay._forget_marks([default])
    assert list(await outbox()) == []


async def test_a_job_of_a_schedule_that_ended_early_can_be_retried_by_hand(
    default: EngineQueue, queues: Queues, store: PostgresStore, jobs: JobKit, outbox: Look
) -> None:
    @scheduled_task(every=3600.0, durable=True, record="none")
    async def brief(ctx: Context) -> None:
        RUNS.append(1)

    async with before_its_row(store):
        job = await queues.trigger_schedule("brief")
        await jobs.drain()
    await queues.retry(job.key)
    await jobs.drain()
    assert RUNS == [1, 1]
    assert list(await outbox()) == []


async def test_without_postgresql_a_durable_job_is_refused(queues: Queues) -> None:
    queue = queues.get("default")
    queue.store = None
    with pytest.raises(ConfigurationError, match="PostgreSQL"):
        await count.enqueue()
    assert await queue.count("incomplete") == 0


@pytest.mark.timings(postgres=PostgresTimings(end_write=0.1))
async def test_a_slow_postgresql_does_not_keep_a_job_from_ending(
    queues: Queues,
    store: PostgresStore,
    jobs: JobKit,
    engine: AsyncEngine,
    outbox: Look,
) -> None:
    job = await count.enqueue(number=6)
    locked, done = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT * FROM outbox FOR UPDATE"))
            locked.set()
            await done.wait()

    holding = asyncio.create_task(hold())
    await locked.wait()
    await jobs.drain()
    assert await job.result(timeout=60) == 6
    assert len(await outbox()) == 1
    done.set()
    await holding

    async def gone() -> bool:
        return not await outbox()

    await eventually(gone)


async def test_a_forgotten_job_does_not_replace_a_newer_one(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, records: Look
) -> None:
    @task(durable=True, unique=Unique(by=("name",), on_conflict="replace"))
    async def publish(ctx: Context, *, name: str, version: int) -> int:
        return version

    old = await publish.enqueue(name="page", version=1)
    await store.publisher.flush(30)
    await default.redis.flushall()
    with clock.shifted(1):
        new = await publish.enqueue(name="page", version=2)
        await store.relay.reconcile([default])
        assert [job.key for job in jobs.all_enqueued(publish)] == [new.key]
        record = await record_of(records, old.key, "aborted")
        assert record.error == f"replaced by {new.key}"
        await jobs.drain()
        await store.relay.reconcile([default])
        await jobs.drain()
    assert (await record_of(records, new.key, "complete")).result == 2
    assert len(await records()) == 2


@pytest.mark.timings(postgres=PostgresTimings(transaction=0.5))
@pytest.mark.parametrize("key", [None, "chosen"])
async def test_a_postgresql_that_hangs_refuses_a_durable_job_in_time(
    engine: AsyncEngine, queues: Queues, key: str | None
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(QueueUnavailable, match="PostgreSQL: no answer"):
            await count.options(key=key).enqueue(number=1)
