"""Jobs that only PostgreSQL has, as HTTP and the command line show them."""

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.queue import Context, Queues, get_registry, task
from app.queue.memory.memory import Memory
from app.queue.tasks import my_task
from app.queue.testing import JobKit
from tests.cli.conftest import Cli, JsonCli
from tests.cli.conftest import cli as cli_fixture
from tests.cli.conftest import cli_json as cli_json_fixture
from tests.queue.memory.conftest import Look, nothing_published, record_of

cli = cli_fixture
cli_json = cli_json_fixture

with get_registry().isolated():

    @task(durable=True, redact=("token",), ttl=1)
    async def keep(ctx: Context, *, number: int, token: str = "") -> int:
        return number


@pytest.fixture(autouse=True)
def keeping(own_tasks: None) -> None:
    get_registry().add(keep)


async def test_a_job_of_the_outbox_is_new(client: httpx.AsyncClient, session: AsyncSession, memory: Memory) -> None:
    async with nothing_published(memory):
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
    told = await cli_json("jobs", "show", job.key)
    assert (told["redis"], told["outbox"]["status"], told["records"]) == (None, "new", [])
    assert "in the outbox" in (await cli("jobs", "show", f"saq:job:default:{job.key}"))[0]
    assert told["outbox"]["arguments"] == {"number": 1, "token": "[redacted]"}


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
