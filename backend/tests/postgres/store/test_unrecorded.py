"""Ends that PostgreSQL does not know yet: Redis keeps them, and any worker writes them."""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from saq import Job
from saq.job import Status
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.queue.config import build_config
from app.settings import load_settings
from saqueduct import Context, EngineQueue, JobHandle, Queues, Unique, get_registry, task
from saqueduct.common import clock
from saqueduct.postgres.building import build_store
from saqueduct.postgres.store import PostgresStore
from saqueduct.postgres.unrecorded import UnrecordedEnds
from saqueduct.tasks.job import STALLED
from saqueduct.testing import JobKit
from saqueduct.timings import PostgresTimings
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, record_of

RUNS: list[int] = []


with get_registry().isolated():

    @task(retries=1)
    async def fail(ctx: Context, *, number: int = 0) -> None:
        RUNS.append(number)
        raise ValueError(f"no {number}")

    @task(retries=2, ttl=-1)
    async def second_time(ctx: Context) -> str:
        if ctx["job"].attempts < 2:
            raise ValueError("once")
        return "done"

    @task(durable=True, ttl=-1)
    async def keep(ctx: Context, *, number: int = 0) -> int:
        RUNS.append(number)
        return number

    @task(retries=1, durable=True)
    async def keep_failing(ctx: Context) -> None:
        RUNS.append(0)
        raise ValueError("no")


@pytest.fixture(autouse=True)
def own(own_tasks: None) -> None:
    for each in (fail, second_time, keep, keep_failing):
        get_registry().add(each)
    RUNS.clear()


@asynccontextmanager
async def dying(store: PostgresStore) -> AsyncIterator[None]:
    """A process that dies as soon as Redis knows how its jobs ended."""

    def lose(jobs: Sequence[Job]) -> None: ...

    add, store.recorder.add = store.recorder.add, lose  # type: ignore[method-assign]
    try:
        yield
    finally:
        store.recorder.add = add  # type: ignore[method-assign]


async def left(store: PostgresStore, queue: EngineQueue) -> int:
    """Write what a process left that died; returns how many ends are still kept."""
    await store.relay.record_left([queue], age=0.0)
    return await queue.unrecorded.count()


async def test_a_job_that_failed_is_a_dead_letter_though_its_worker_died(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, records: Look
) -> None:
    job = await fail.options(ttl=-1).enqueue(number=7)
    async with dying(store):
        await jobs.drain()
    assert await default.unrecorded.count() == 1
    assert await default.job(job.key) is None
    assert await left(store, default) == 0
    [record] = await records()
    assert (record.key, record.status, record.arguments) == (job.key, "failed", {"number": 7})
    assert "no 7" in record.error


async def test_an_end_is_kept_no_longer_than_until_it_is_written(
    default: EngineQueue, jobs: JobKit, records: Look
) -> None:
    job = await fail.enqueue()
    await jobs.drain()
    await record_of(records, job.key, "failed")

    async def gone() -> bool:
        return await default.unrecorded.count() == 0

    await eventually(gone)


async def test_an_end_that_is_written_twice_counts_once(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, records: Look
) -> None:
    job = await fail.enqueue()
    async with dying(store):
        await jobs.drain()
    kept: Any = await default.redis.hgetall(default.namespace("unrecorded"))
    ended = await default.job(job.key)
    assert ended is not None
    store.recorder.add([ended])
    await record_of(records, job.key, "failed")
    await default.redis.hset(default.namespace("unrecorded"), mapping=kept)
    assert await left(store, default) == 0
    [record] = await records()
    assert len(record.errors) == 1


async def test_a_job_that_completes_at_once_or_leaves_no_record_is_not_kept(
    default: EngineQueue, store: PostgresStore, jobs: JobKit
) -> None:
    @task
    async def fine(ctx: Context) -> None: ...

    @task(record="none", retries=1)
    async def unnoticed(ctx: Context) -> None:
        raise ValueError

    await fine.enqueue()
    await unnoticed.enqueue()
    async with dying(store):
        await jobs.drain()
    assert await default.unrecorded.count() == 0


async def test_a_retried_job_that_completes_leaves_no_record_that_says_it_waits(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, records: Look
) -> None:
    job = await second_time.options(retry_delay=3600).enqueue()
    await jobs.drain(scheduled=False)
    await record_of(records, job.key, "queued")
    async with dying(store):
        with clock.shifted(3601):
            await jobs.drain()
    assert await left(store, default) == 0
    [record] = await records()
    assert (record.status, record.result) == ("complete", "done")


@pytest.mark.parametrize("policy", ["all", "failures"])
@pytest.mark.parametrize("mark", ["", STALLED], ids=["its worker died", "another job blocked its worker"])
@pytest.mark.timings(recovery_wait=0.0)
async def test_a_recovered_job_that_completes_leaves_no_record_that_says_it_waits(
    policy: Any, mark: str, default: EngineQueue, store: PostgresStore, jobs: JobKit, records: Look
) -> None:  # fmt: skip
    @task(record=policy)
    async def fine(ctx: Context) -> None: ...

    job = await fine.enqueue()
    answer = await default.scripts.run("lease", 1, "dead", -1)
    await default.redis.hset(default.namespace("owners"), default.job_id(job.key), answer[3].decode() + mark)
    await default.recover()
    await record_of(records, job.key, "queued")
    async with dying(store):
        await jobs.drain()
    assert await left(store, default) == 0
    assert [(row.status, row.recoveries) for row in await records()] == [("complete", 1)]


async def test_an_abort_and_an_expiry_are_not_lost(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, records: Look
) -> None:
    @task(unique=Unique(by=("name",), on_conflict="replace"))
    async def publish(ctx: Context, *, name: str) -> None: ...

    async with dying(store):
        aborted = await fail.options(delay=3600).enqueue()
        await aborted.abort("not wanted")
        expired = await fail.options(expires=1).enqueue()
        replaced = await publish.options(delay=3600).enqueue(name="page")
        newer = await publish.options(delay=7200).enqueue(name="page")
        with clock.shifted(2):
            await jobs.drain()
    assert await left(store, default) == 0
    reported = {row.key: (row.status, row.error) for row in await records()}
    assert reported[aborted.key] == ("aborted", "not wanted")
    assert reported[expired.key][0] == "aborted"
    assert reported[replaced.key] == ("aborted", f"replaced by {newer.key}")


async def test_what_a_newer_worker_knows_is_left_to_it(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, records: Look
) -> None:
    await fail.enqueue(number=1)
    async with dying(store):
        await jobs.drain()
    with get_registry().isolated():
        assert await left(store, default) == 1
    assert await left(store, default) == 0
    assert [row.arguments for row in await records()] == [{"number": 1}]


@pytest.mark.timings(postgres=PostgresTimings(unknown_task_kept=0.0))
async def test_what_no_worker_knows_is_written_in_the_end_without_its_arguments(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, records: Look
) -> None:
    await fail.enqueue(number=1)
    async with dying(store):
        await jobs.drain()
    with get_registry().isolated():
        assert await left(store, default) == 0
    assert [row.status for row in await records()] == ["failed"]


@pytest.mark.parametrize("failing", [fail, keep_failing], ids=["plain", "durable"])
async def test_a_job_retried_by_hand_before_its_end_is_written_is_no_dead_letter(
    failing: Any, default: EngineQueue, queues: Queues, store: PostgresStore, jobs: JobKit, records: Look
) -> None:
    job: JobHandle[None] = await failing.enqueue()
    async with dying(store), away(store):
        await jobs.drain()
    await queues.retry(job.key)
    [record] = await records()
    assert (record.status, record.resolution) == ("failed", "retried")
    await jobs.drain()
    assert await left(store, default) == 0
    assert RUNS == [0, 0]
    await record_of(records, job.key, "failed")
    [record] = await records()
    assert (record.round, record.resolution, len(record.errors)) == (1, None, 2)


@asynccontextmanager
async def away(store: PostgresStore) -> AsyncIterator[None]:
    """PostgreSQL takes no ends of durable jobs."""
    store.recorder.away_since = 0.0
    yield
    store.recorder.away_since = None


async def test_a_durable_job_that_ended_while_postgresql_was_away_does_not_run_again(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, outbox: Look, records: Look
) -> None:
    job = await keep.enqueue(number=3)
    async with dying(store), away(store):
        await jobs.drain()
    assert await default.job(job.key) is None
    assert len(await outbox()) == 1
    await store.relay.reconcile([default])
    await jobs.drain()
    assert RUNS == [3]
    assert await left(store, default) == 0
    assert list(await outbox()) == []
    assert [(row.status, row.result) for row in await records()] == [("complete", 3)]


async def test_a_worker_takes_no_further_jobs_when_redis_keeps_too_many_ends(
    default: EngineQueue, store: PostgresStore, jobs: JobKit
) -> None:
    async with dying(store):
        await fail.enqueue()
        await jobs.drain()
    ends = UnrecordedEnds({default.name: default}, store.recorder.rows.knows, store.timings, most=1)
    store.recorder.crowded = await ends.crowded([default])
    assert store.recorder.full
    assert "no jobs are taken until PostgreSQL has the ends" in store.recorder.problem
    assert await left(store, default) == 0
    store.recorder.crowded = await ends.crowded([default])
    assert not store.recorder.full


async def test_an_end_that_cannot_be_read_keeps_no_other_from_being_written(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, records: Look, caplog: pytest.LogCaptureFixture
) -> None:
    async with dying(store):
        await fail.enqueue()
        await jobs.drain()
    await default.redis.hset(default.namespace("unrecorded"), "spoilt|1|0", "1 no job")
    assert await left(store, default) == 1
    assert await left(store, default) == 1
    assert caplog.text.count("the job spoilt cannot be read") == 1
    assert [row.status for row in await records()] == ["failed"]


@pytest.mark.sizes(waiting_records=3)
async def test_ends_beyond_the_buffer_wait_in_redis(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, engine: AsyncEngine, records: Look
) -> None:  # fmt: skip
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE job_records"))
        for number in range(10):
            await fail.enqueue(number=number)
        await jobs.drain()
        assert await default.unrecorded.count() == 10
    assert store.recorder.dropped == 0
    await eventually(lambda: len(store.recorder) == 0)
    assert await left(store, default) == 0
    assert sorted(row.arguments["number"] for row in await records()) == list(range(10))
    assert {row.status for row in await records()} == {Status.FAILED.value}


@pytest.mark.sizes(waiting_ends=3)
async def test_ends_of_durable_jobs_beyond_their_buffer_wait_in_redis(
    default: EngineQueue, store: PostgresStore, jobs: JobKit, engine: AsyncEngine, outbox: Look, records: Look
) -> None:  # fmt: skip
    for number in range(10):
        await keep.enqueue(number=number)
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE outbox"))
        await jobs.drain()
        assert await default.unrecorded.count() == 10
        assert len(store.recorder) <= 3
    await eventually(lambda: len(store.recorder) == 0)
    assert await left(store, default) == 0
    assert await outbox() == []
    assert sorted(row.arguments["number"] for row in await records()) == list(range(10))


@pytest.mark.parametrize(
    ("synchronous", "ended", "waits"),
    [
        (False, Status.FAILED, "on"),
        (False, Status.COMPLETE, "off"),
        (True, Status.FAILED, "on"),
        (True, Status.COMPLETE, "on"),
    ],
)
async def test_a_record_waits_for_the_disk_if_redis_kept_its_end_or_the_settings_say_so(
    default: EngineQueue, store: PostgresStore, engine: AsyncEngine, synchronous: bool, ended: Status, waits: str
) -> None:
    job = fail.job({})
    job.queue, job.queued, job.status, job.attempts = default, 1, ended, 1
    row = store.recorder.rows.of(job)
    assert row is not None
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL synchronous_commit TO on"))
        await dataclasses.replace(store.recorder.rows, synchronous=synchronous).write(connection, [row])
        assert (await connection.execute(text("SHOW synchronous_commit"))).scalar_one() == waits


@pytest.mark.parametrize(("variable", "synchronous"), [({}, False), ({"QUEUE_RECORD_SYNCHRONOUS_COMMIT": "on"}, True)])
async def test_the_settings_of_the_application_say_whether_records_wait_for_the_disk(
    environment: dict[str, str], variable: dict[str, str], synchronous: bool
) -> None:
    config = build_config(load_settings({**environment, **variable}))
    store = build_store(config, get_registry())
    assert store.recorder.rows.synchronous is synchronous
    await store.close()
