"""A durable job whose end PostgreSQL knows and Redis does not: the body does not end twice."""

from collections.abc import Sequence

import pytest
from dishka import AsyncContainer
from redis.exceptions import ConnectionError as RedisConnectionError
from saq import Job
from saq.job import Status

from app.settings import Settings
from saqueduct import Context, EngineQueue, Queues, get_registry, task
from saqueduct.postgres.recorder import JobRecorder
from saqueduct.postgres.store import PostgresStore
from saqueduct.queue.outcomes import Outcome, Settler
from saqueduct.tasks.job_meta import RECOVERIES
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look
from tests.queue.kit import working

RUNS: list[str] = []

with get_registry().isolated():

    @task(durable=True)
    async def bill(ctx: Context) -> str:
        RUNS.append("billed")
        return "billed"

    @task(durable=True, record="failures")
    async def bill_without_a_record(ctx: Context) -> str:
        RUNS.append("billed")
        return "billed"

    @task(durable=True, retries=1)
    async def refuse(ctx: Context) -> None:
        RUNS.append("refused")
        raise ValueError("no such customer")


BILLING = {each.name: each for each in (bill, bill_without_a_record)}


@pytest.fixture(autouse=True)
def tasks(own_tasks: None) -> None:
    for each in BILLING.values():
        get_registry().add(each)
    get_registry().add(refuse)
    RUNS.clear()


@pytest.fixture
def default(queues: Queues) -> EngineQueue:
    return queues.get("default")


async def lose_its_end(queue: EngineQueue, key: str) -> None:
    """As if its worker had died between PostgreSQL's commit and the call to Redis, and the job had been recovered."""
    job = await queue.job(key)
    assert job is not None
    job.status, job.result, job.error, job.completed, job.attempts = Status.QUEUED, None, None, 0, 0
    job.meta[RECOVERIES] = 1
    await queue.settler.settle([Outcome.release(queue.core, job)])


@pytest.mark.parametrize("billing", BILLING)
async def test_a_recovered_job_that_had_completed_does_not_run_again(
    jobs: JobKit, default: EngineQueue, outbox: Look, billing: str
) -> None:
    job = await BILLING[billing].enqueue()
    await jobs.drain()
    assert await outbox() == []
    await lose_its_end(default, job.key)
    await jobs.drain()
    assert RUNS == ["billed"]
    assert await job.status() is Status.COMPLETE


async def test_nor_does_one_that_had_failed(jobs: JobKit, default: EngineQueue, outbox: Look, records: Look) -> None:
    job = await refuse.enqueue()
    await jobs.drain()
    assert await outbox() == []
    await lose_its_end(default, job.key)
    await jobs.drain()
    assert RUNS == ["refused"]
    ended = await default.job(job.key)
    assert ended is not None
    assert (ended.status, "it had failed before its worker died" in (ended.error or "")) == (Status.FAILED, True)
    [record] = await records()
    assert (record.status, "no such customer" in record.error) == ("failed", True)


async def test_a_job_whose_row_is_there_runs_again(jobs: JobKit, default: EngineQueue, outbox: Look) -> None:
    job = await bill.enqueue()
    waiting = await default.job(job.key)
    assert waiting is not None
    waiting.meta[RECOVERIES] = 1
    await default.redis.set(default.job_id(job.key), default.serialize(waiting))
    await jobs.drain()
    assert RUNS == ["billed"]


@pytest.mark.parametrize("billing", BILLING)
async def test_redis_that_loses_everything_in_between_brings_no_job_back(
    settings: Settings,
    queues: Queues,
    container: AsyncContainer,
    default: EngineQueue,
    store: PostgresStore,
    outbox: Look,
    monkeypatch: pytest.MonkeyPatch,
    billing: str,
) -> None:
    close = JobRecorder.close
    closed: list[Job] = []

    async def close_and_lose(recorder: JobRecorder, jobs: Sequence[Job]) -> list[bool | None]:
        counts = await close(recorder, jobs)
        await default.redis.flushall()
        closed.extend(jobs)
        return counts

    monkeypatch.setattr(JobRecorder, "close", close_and_lose)
    async with working(settings, queues, container, schedules=False):
        await BILLING[billing].enqueue()
        await eventually(lambda: bool(closed))
    await store.relay.reconcile([default])
    assert await default.count("incomplete") == 0
    assert await outbox() == []
    assert RUNS == ["billed"]


@pytest.mark.timings(lease=1.0)
@pytest.mark.parametrize("billing", BILLING)
async def test_a_worker_cut_off_from_redis_in_between_lets_no_other_run_it_again(
    settings: Settings,
    queues: Queues,
    container: AsyncContainer,
    default: EngineQueue,
    monkeypatch: pytest.MonkeyPatch,
    billing: str,
) -> None:
    settle = Settler.settle_each
    cut: list[object] = []

    async def is_cut(
        settler: Settler, batch: Sequence[tuple[Outcome, Job | None]], *, expired: bool = False
    ) -> list[tuple[Outcome, bool]]:
        if expired and not cut:
            # On a busy machine its lease may end before it has run.
            return await settle(settler, batch, expired=expired)
        if not expired:
            cut.append(batch)
        raise RedisConnectionError("cut")

    monkeypatch.setattr(Settler, "settle_each", is_cut)
    async with working(settings, queues, container, schedules=False):
        job = await BILLING[billing].enqueue()
        await eventually(lambda: bool(cut))
    monkeypatch.setattr(Settler, "settle_each", settle)
    assert await job.status() is Status.ACTIVE
    async with working(settings, queues, container, schedules=False):

        async def complete() -> bool:
            return await job.status() is Status.COMPLETE

        await eventually(complete)
    assert RUNS == ["billed"]
