"""Every example, as its user runs it: with the installed wheel, in a folder of its own."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy.engine import make_url

from tests.fixtures.poll import eventually_sync
from tests.package.conftest import BACKEND
from tests.package.installed import Installed, Project

EXAMPLES = BACKEND / "examples"
REDIS_OF_THE_EXAMPLE = "redis://127.0.0.1:6379/0"

DEPRECATED_HANDLERS = "error::DeprecationWarning:litestar.handlers.base"
"""Litestar's warning about a handler whose parameters are declared in a deprecated way is an error."""

pytestmark = pytest.mark.usefixtures("empty_redis")


@pytest.fixture
def own_database(database_url: str) -> Iterator[str]:
    """The URL of an empty database, which other tests do not use."""

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute("CREATE DATABASE example"))
    yield make_url(database_url).set(database="example").render_as_string(hide_password=False)
    asyncio.run(execute("DROP DATABASE example WITH (FORCE)"))


def project(installed: Installed, directory: Path, example: str, **variables: str) -> Project:
    """A folder with a copy of an example; the Redis of the tests takes the place of the one that it names."""
    source = (EXAMPLES / f"{example}.py").read_text()
    (directory / f"{example}.py").write_text(source.replace(REDIS_OF_THE_EXAMPLE, variables["REDIS_URL"]))
    return Project(installed, directory, {**variables, "PYTHONWARNINGS": DEPRECATED_HANDLERS})


def result(client: httpx.Client, path: str) -> Any:
    """The result of a job, once the page at `path` shows it as complete."""

    def complete() -> dict[str, Any] | None:
        job: dict[str, Any] = client.get(path).json()
        return job if job["status"] == "complete" else None

    return eventually_sync(complete)["result"]


def test_the_minimal_example_completes_a_job_shows_it_and_drains(
    bare: Installed, redis_url: str, tmp_path: Path
) -> None:
    minimal = project(bare, tmp_path, "minimal", REDIS_URL=redis_url)
    with (
        minimal.web("litestar", "--app", "minimal:app", "run") as client,
        minimal.running("litestar", "--app", "minimal:app", "workers", "run") as worker,
    ):
        key = client.post("/add", params={"a": 1, "b": 2}).json()["job_id"]
        assert result(client, f"/queue/jobs/{key}") == 3
        assert "<title>SAQ</title>" in client.get("/saq/").text
        assert client.get(f"/saq/api/queues/default/jobs/{key}").json()["job"]["status"] == "complete"
        assert key in minimal.run("litestar", "--app", "minimal:app", "queue", "jobs", "show", key)
        assert {"add", "ping"} <= set(minimal.start("saqueduct", "--app", "minimal:app", "tasks", "list").split())
        assert worker.stop() == 0, worker.output
        assert "worker stopped" in worker.output


def test_the_example_of_the_index_page_is_the_minimal_one() -> None:
    assert lines_of((EXAMPLES / "minimal.py").read_text()) <= lines_of((BACKEND / "README.md").read_text())


def test_advanced_alchemy_enqueues_in_a_transaction_and_injects_sessions(
    with_alchemy: Installed, redis_url: str, own_database: str, tmp_path: Path
) -> None:
    name = "with_advanced_alchemy"
    litestar = ("litestar", "--app", f"{name}:app")
    example = project(with_alchemy, tmp_path, name, REDIS_URL=redis_url, DATABASE_URL=own_database)
    example.run(*litestar, "queue", "migrate")
    with example.web(*litestar, "run") as client, example.running(*litestar, "workers", "run") as worker:
        note = client.post("/notes", params={"text": "to be or not to be"}).json()
        assert result(client, f"/queue/jobs/{note['job_id']}") == 6
        assert client.get(f"/notes/{note['id']}").json()["words"] == 6
        assert worker.stop() == 0, worker.output


def test_dishka_injects_into_jobs(full: Installed, redis_url: str, tmp_path: Path) -> None:
    example = project(full, tmp_path, "with_dishka", REDIS_URL=redis_url)
    with (
        example.web("litestar", "--app", "with_dishka:app", "run") as client,
        example.running("litestar", "--app", "with_dishka:app", "workers", "run") as worker,
    ):
        key = client.post("/welcome", params={"to": "ada@example.com"}).json()["job_id"]
        assert result(client, f"/queue/jobs/{key}") == ["ada@example.com"]
        assert worker.stop() == 0, worker.output


def test_fastapi_enqueues_and_a_worker_process_runs(full: Installed, redis_url: str, tmp_path: Path) -> None:
    example = project(full, tmp_path, "with_fastapi", REDIS_URL=redis_url)
    with (
        example.web("uvicorn", "with_fastapi:app") as client,
        example.running("python", "with_fastapi.py") as worker,
    ):
        key = client.post("/add", params={"a": 1, "b": 2}).json()["job_id"]
        assert result(client, f"/jobs/{key}") == 3
        assert client.get("/jobs/nobody").status_code == 404
        assert worker.stop() == 0, worker.output


def test_the_script_prints_its_results(bare: Installed, redis_url: str, tmp_path: Path) -> None:
    printed = project(bare, tmp_path, "script", REDIS_URL=redis_url).start("python", "script.py")
    assert printed.splitlines()[-1] == "[0, 1, 4, 9, 16]"


def lines_of(text: str) -> set[str]:
    return {line for line in text.splitlines() if line}
