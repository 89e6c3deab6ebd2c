"""Jobs that only PostgreSQL has, as HTTP and the command line show them."""

from collections.abc import AsyncIterator

import httpx
import pytest
from saq.job import Status
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.queue.tasks import my_task
from saqueduct import Context, JobAborted, JobConflict, Queues, Unique, get_registry, task
from saqueduct.postgres.models import OutboxJob
from saqueduct.testing import JobKit
from tests.cli.conftest import Cli, JsonCli
from tests.cli.conftest import cli as cli_fixture
from tests.cli.conftest import cli_json as cli_json_fixture
from tests.postgres.store.conftest import Look, nothing_published, record_of

cli = cli_fixture
cli_json = cli_json_fixture

with get_registry().isolated():

    @task(durable=True, redact=("token",), ttl=1)
    async def keep(ctx: Context, *, number: int, token: str = "") -> int:
        return number


@pytest.fixture(autouse=True)
def keeping(own_tasks: None) -> None:
    get_registry().add(keep)


async def test_a_job_of_the_outbox_is_new(client: httpx.AsyncClient, session: AsyncSession) -> None:
    async with nothing_published():
        await my_task.options(session=session, key="tenant/42").enqueue(user_id=7)
        assert (await client.get("/jobs/tenant%2F42")).status_code == 404
        await session.commit()
        found = (await client.get("/jobs/tenant%2F42")).json()
    assert (found["status"], found["task"], found["attempts"], found["result"]) == ("new", "my_task", 0, None)


async def test_a_durable_job_that_redis_has_lost_is_new(
    client: httpx.AsyncClient, queues: Queues, cli: Cli, cli_json: JsonCli
) -> None:
    job = await keep.enqueue(number=1, token="s3cret")
    await queues.get("default").redis.flushall()
    assert (await client.get(f"/jobs/{job.key}")).json()["status"] == "new"
    shown = await cli_json("jobs", "show", job.key)
    assert (shown["redis"], shown["outbox"]["status"], shown["records"]) == (None, "new", [])
    assert "in the outbox" in (await cli("jobs", "show", f"saq:job:default:{job.key}"))[0]
    assert shown["outbox"]["arguments"] == {"number": 1, "token": "[redacted]"}


async def test_the_later_of_two_jobs_of_a_key_is_shown(
    client: httpx.AsyncClient, queues: Queues, jobs: JobKit, records: Look
) -> None:
    await keep.options(key="same").enqueue(number=1)
    await jobs.drain()
    await record_of(records, "same", "complete")
    await queues.get("default").redis.flushall()
    assert (await client.get("/jobs/same")).json()["status"] == "complete"
    await keep.options(key="same").enqueue(number=2)
    await queues.get("default").redis.flushall()
    assert (await client.get("/jobs/same")).json()["status"] == "new"


@pytest.fixture
async def unpublished(session: AsyncSession) -> AsyncIterator[None]:
    """A committed job `late` that nobody enqueues."""
    async with nothing_published():
        await my_task.options(session=session, key="late").enqueue(user_id=7)
        await session.commit()
        yield


@pytest.mark.usefixtures("unpublished")
async def test_a_job_of_the_outbox_is_aborted(
    client: httpx.AsyncClient, jobs: JobKit, outbox: Look, records: Look
) -> None:
    answer = await client.request("DELETE", "/jobs/late")
    assert (answer.status_code, answer.json()["status"]) == (202, "aborted")
    record = await record_of(records, "late", "aborted")
    assert (record.attempts, await outbox()) == (0, [])
    assert (await client.get("/jobs/late")).json()["status"] == "aborted"
    assert (await jobs.drain()).complete == 0


@pytest.mark.usefixtures("unpublished")
async def test_a_job_of_the_outbox_is_aborted_by_the_command_line(cli_json: JsonCli, records: Look) -> None:
    assert await cli_json("jobs", "abort", "saq:job:default:late") == {
        "aborted": ["saq:job:default:late"],
        "refused": {},
    }
    await record_of(records, "late", "aborted")


async def test_a_durable_job_that_redis_has_lost_is_aborted_for_good(
    client: httpx.AsyncClient, queues: Queues, jobs: JobKit, outbox: Look, records: Look
) -> None:
    job = await keep.enqueue(number=1)
    await queues.get("default").redis.flushall()
    assert (await client.request("DELETE", f"/jobs/{job.key}")).status_code == 202
    await record_of(records, job.key, "aborted")
    assert (await outbox(), (await jobs.drain()).complete) == ([], 0)


async def test_the_abort_of_a_unique_job_of_the_outbox_leaves_the_one_that_it_would_replace(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    unique = my_task.options(unique=Unique(on_conflict="replace"))
    older = await unique.enqueue(user_id=7)
    async with nothing_published():
        await unique.options(session=session, key="newer").enqueue(user_id=7)
        await session.commit()
    assert (await client.request("DELETE", "/jobs/newer")).json()["status"] == "aborted"
    assert await older.status() is Status.QUEUED


async def test_a_job_whose_transaction_is_open_cannot_be_aborted(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await my_task.options(session=session, key="late").enqueue(user_id=7)
    assert (await client.request("DELETE", "/jobs/late")).status_code == 404


@pytest.mark.usefixtures("unpublished")
async def test_a_job_that_another_process_enqueues_cannot_be_aborted_in_that_moment(
    client: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    async with engine.begin() as other:
        await other.execute(select(OutboxJob).with_for_update())
        answer = await client.request("DELETE", "/jobs/late")
    assert (answer.status_code, "try again" in answer.json()["detail"]) == (409, True)


async def test_a_handle_aborts_a_job_of_the_outbox_after_the_commit_only(session: AsyncSession, jobs: JobKit) -> None:
    async with nothing_published():
        job = await my_task.within(session).enqueue(user_id=7)
        with pytest.raises(JobConflict, match="roll that back"):
            await job.abort()
        await session.commit()
        await job.abort()
    with pytest.raises(JobAborted):
        await job.result(timeout=60)
    assert (await jobs.drain()).complete == 0
