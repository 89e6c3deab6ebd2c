"""No request that the OpenAPI document describes, or that is a little off it, is answered by an error of the server.

`make fuzz` runs it; the name of this file keeps it out of `make test`, as it takes a minute.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import redis
from sqlalchemy.ext.asyncio import AsyncEngine

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


def test_schemathesis_finds_no_error_of_the_server(
    environment: dict[str, str], engine: AsyncEngine, redis_url: str, tmp_path: Path
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    described = tmp_path / "openapi.json"
    with web(environment, tmp_path / "web.log") as client:
        described.write_text(json.dumps(without_waits(client.get("/schema/openapi.json").json())))
        command: list[Any] = [Path(sys.executable).with_name("schemathesis"), "--no-color", "run", described]
        command += ["--url", str(client.base_url), "--checks", "not_a_server_error", "--phases", "coverage,fuzzing"]
        command += ["--max-examples", str(EXAMPLES), "--generation-deterministic", "--warnings", "off"]
        # Of all tasks one is tried: their routes are one.
        command += ["--exclude-path-regex", "^/tasks/(?!my_task|[{])", "--continue-on-failure"]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr
