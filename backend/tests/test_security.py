"""Who may change jobs."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.main import create_app
from app.queue import Queues
from app.settings import load_settings
from tests.conftest import running

PASSWORD = "correct horse battery staple"
TOKEN = "a token of some length"

CHANGING = [("POST", "/tasks/ping"), ("DELETE", "/jobs/one"), ("POST", "/jobs/one/retry")]
SAQ_UI = [
    ("GET", "/saq"),
    ("GET", "/saq/api/queues"),
    ("GET", "/saq/api/queues/default"),
    ("GET", "/saq/static/app.js"),
    ("POST", "/saq/api/queues/default/jobs/one/retry"),
    ("POST", "/saq/api/queues/default/jobs/one/abort"),
]
GUARDED = CHANGING + SAQ_UI


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@asynccontextmanager
async def application(
    environment: dict[str, str], peer: str = "127.0.0.1", host: str = "127.0.0.1:8000"
) -> AsyncIterator[httpx.AsyncClient]:
    app: Any = create_app(load_settings(environment))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 50_000))
    async with running(app), httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        yield client


@pytest.fixture
def guarded(environment: dict[str, str], queues: Queues, engine: AsyncEngine) -> dict[str, str]:
    """An environment with admin credentials, on empty servers."""
    return environment | {"ADMIN_PASSWORD": PASSWORD, "ADMIN_TOKEN": TOKEN}


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_without_credentials_the_answer_is_401_and_a_challenge(
    guarded: dict[str, str], queues: Queues, method: str, path: str
) -> None:
    await queues.enqueue("ping", key="one")
    async with application(guarded) as client:
        answer = await client.request(method, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert await queues.get("default").count("queued") == 1


@pytest.mark.parametrize(
    "headers",
    [
        basic("admin", "wrong"),
        basic("root", PASSWORD),
        basic("admin", ""),
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer "},
        {"authorization": "Basic %%%"},
        {"authorization": "Basic /w=="},
        {"authorization": "Digest x"},
    ],
)
async def test_wrong_credentials_are_401(guarded: dict[str, str], headers: dict[str, str]) -> None:
    async with application(guarded) as client:
        assert (await client.post("/tasks/ping", headers=headers)).status_code == 401


@pytest.mark.parametrize("headers", [basic("admin", PASSWORD), {"authorization": f"Bearer {TOKEN}"}])
async def test_the_admin_passes_from_anywhere(guarded: dict[str, str], headers: dict[str, str]) -> None:
    async with application(guarded, peer="203.0.113.9", host="jobs.example.com") as client:
        assert (await client.post("/tasks/ping", headers=headers)).status_code == 201
        assert (await client.get("/saq/api/queues", headers=headers)).status_code == 200


async def test_an_empty_token_never_opens(environment: dict[str, str], queues: Queues, engine: AsyncEngine) -> None:
    async with application(environment | {"ADMIN_PASSWORD": PASSWORD}) as client:
        answer = await client.post("/tasks/ping", headers={"authorization": "Bearer "})
    assert answer.status_code == 401


async def test_reading_and_process_need_no_credentials(guarded: dict[str, str]) -> None:
    async with application(guarded, peer="203.0.113.9", host="jobs.example.com") as client:
        key = (await client.post("/process?user_id=1")).json()["job_id"]
        assert (await client.get(f"/jobs/{key}")).status_code == 200
        assert (await client.get("/tasks")).status_code == 200
        assert (await client.get("/health/ready")).status_code == 200


async def test_a_page_of_another_site_cannot_use_the_browsers_credentials(guarded: dict[str, str]) -> None:
    headers = basic("admin", PASSWORD) | {"sec-fetch-site": "cross-site"}
    async with application(guarded) as client:
        assert (await client.post("/tasks/ping", headers=headers)).status_code == 403
        headers["sec-fetch-site"] = "same-origin"
        assert (await client.post("/tasks/ping", headers=headers)).status_code == 201


@pytest.mark.parametrize(
    ("peer", "host", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8000", 201),
        ("127.0.0.1", "localhost:8000", 201),
        ("::1", "[::1]:8000", 201),
        ("203.0.113.9", "127.0.0.1:8000", 401),
        ("127.0.0.1", "attacker.example:8000", 401),
    ],
)
async def test_in_development_without_credentials_only_this_machine_passes(
    environment: dict[str, str], queues: Queues, engine: AsyncEngine, peer: str, host: str, status: int
) -> None:
    async with application(environment, peer=peer, host=host) as client:
        assert (await client.post("/tasks/ping")).status_code == status
        assert (await client.get("/saq/")).status_code == (200 if status == 201 else 401)


async def test_no_answer_tells_a_secret(guarded: dict[str, str]) -> None:
    async with application(guarded) as client:
        for path in ("/saq", "/tasks", "/schema/openapi.json", "/health/ready", "/nowhere"):
            assert PASSWORD not in (await client.get(path)).text
