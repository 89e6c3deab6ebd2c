"""`SaqueductConfig()` alone: servers of its own beside the application, shared by its processes, kept over restarts."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from saqueduct.embedded.services import Services
from tests.fixtures.directories import scratch_directory
from tests.fixtures.poll import eventually_sync
from tests.litestar.applications import Project
from tests.litestar.test_example import ended

ALONE = """
from litestar import Litestar, post
from saqueduct import Context, task
from saqueduct.litestar import SaqueductConfig, SaqueductPlugin

@task(ttl=600{options})
async def add(ctx: Context, *, a: int, b: int) -> int:
    return a + b

@post("/add")
async def start(a: int, b: int, delay: int = 0) -> str:
    return (await add.options(delay=delay).enqueue(a=a, b=b)).key

app = Litestar([start], plugins=[SaqueductPlugin(SaqueductConfig())])
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield directory
        Services(directory / ".saqueduct").stop(grace=5)


def project(directory: Path, options: str = "", **environment: str) -> Project:
    return Project(directory, ALONE.replace("{options}", options), {"PATH": "/usr/bin:/bin", **environment})


def test_the_configuration_alone_starts_a_redis_and_a_worker_and_keeps_jobs_over_restarts(directory: Path) -> None:
    example = project(directory)
    with example.web() as (client, server):
        key = client.post("/add", params={"a": 1, "b": 2}).text
        assert ended(client, key)["result"] == 3
        later = client.post("/add", params={"a": 3, "b": 4, "delay": 3600}).text
        assert server.output.count("REDIS_URL not set: embedded Redis, for development only") == 1
        assert str(directory / ".saqueduct") in server.output
        # uvicorn drains, and then ends by the signal.
        assert server.stop() == -signal.SIGTERM
    assert not Services(directory / ".saqueduct", ["REDIS_URL"]).servers["REDIS_URL"].running()
    with example.web() as (client, _), example.running("workers", "run") as worker:
        worker.prints("worker started")
        assert ended(client, key)["result"] == 3
        assert client.get(f"/queue/jobs/{later}").json()["status"] == "queued"
        # The web process and the worker share one Redis.
        eventually_sync(lambda: client.get("/queue/queues").json()[0]["workers"] == 2)
        assert worker.stop() == 0


def test_a_durable_task_starts_a_postgresql_as_well(directory: Path) -> None:
    with project(directory, ", durable=True").web() as (client, server):
        key = client.post("/add", params={"a": 1, "b": 2}).text
        assert ended(client, key)["result"] == 3
        assert "REDIS_URL and DATABASE_URL not set: embedded Redis and PostgreSQL" in server.output


def test_production_embeds_nothing(directory: Path) -> None:
    failed = project(directory, ENVIRONMENT="production").run("workers", "run")
    assert failed.returncode != 0
    assert "production needs redis_url: give SaqueductConfig(redis_url=...), or set REDIS_URL" in failed.stderr
    assert not (directory / ".saqueduct").exists()
