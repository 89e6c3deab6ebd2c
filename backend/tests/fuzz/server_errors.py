"""No request that the OpenAPI document describes, or that is a little off it, is answered by an error of the server.

`make fuzz` runs it; the name of this file keeps it out of `make test`, as it takes a minute.
"""

import asyncio
import datetime as dt
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import redis
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from saqueduct.postgres.models import JobRecord
from tests.processes.stack import web

EXAMPLES = 5
"""Requests that are drawn for each operation, besides those that try each bound and type of its schema."""


def without_waits(document: dict[str, Any]) -> dict[str, Any]:
    """The document with waits of no time: a request would otherwise take a minute."""
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "wait":
                    parameter["schema"]["maximum"] = 0
    return document


NAMES = {
    "jobs": ["waits", "tenant/42", "dead"],
    "dead-letters": ["dead"],
    "queues": ["default"],
    "schedules": ["ping", "batch_process"],
    "tasks": ["my_task"],
}
"""What there is, by the first part of the path; other names are drawn as well."""


def with_names(document: dict[str, Any]) -> dict[str, Any]:
    """The document with names in the paths of which half exist: one that is drawn at random never does."""
    for path, item in document["paths"].items():
        names = NAMES.get(path.split("/")[1])
        for parameter in (each for operation in item.values() for each in operation.get("parameters", [])):
            if names and parameter["in"] == "path":
                parameter["schema"] = {"anyOf": [{"enum": names}, parameter["schema"]]}
    return document


def enqueue_jobs(client: httpx.Client) -> None:
    """Those of NAMES that wait."""
    for key in ("waits", "tenant/42"):
        client.post("/tasks/my_task", params={"key": key}, json={"user_id": 1}).raise_for_status()


async def add_dead_letter(engine: AsyncEngine) -> None:
    """That of NAMES."""
    long_ago = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    async with AsyncSession(engine) as session, session.begin():
        session.add(
            JobRecord(
                key="dead", queued_at=long_ago, queue="default", task="my_task", status="failed", attempts=1,
                arguments={"user_id": 1},
            )
        )  # fmt: skip


async def test_schemathesis_finds_no_error_of_the_server(
    environment: dict[str, str], engine: AsyncEngine, redis_url: str, tmp_path: Path
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    described = tmp_path / "openapi.json"
    with web(environment, tmp_path / "web.log") as client:
        enqueue_jobs(client)
        await add_dead_letter(engine)
        document = with_names(without_waits(client.get("/schema/openapi.json").json()))
        described.write_text(json.dumps(document))
        command: list[Any] = [Path(sys.executable).with_name("schemathesis"), "--no-color", "run", described]
        command += ["--url", str(client.base_url), "--checks", "not_a_server_error", "--phases", "coverage,fuzzing"]
        command += ["--max-examples", str(EXAMPLES), "--generation-deterministic", "--warnings", "off"]
        # Of all tasks one is tried: their routes are one.
        command += ["--exclude-path-regex", "^/tasks/(?!my_task|[{])", "--continue-on-failure"]
        run = partial(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
        found = await asyncio.to_thread(run)
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr
