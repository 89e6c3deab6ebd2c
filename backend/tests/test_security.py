"""Who may change jobs."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine

from app.main import create_app
from app.settings import Settings, load_settings
from saqueduct import Queues
from saqueduct.litestar.credentials import REFUSALS_PER_MINUTE
from tests.conftest import running
from tests.fixtures.application import application as shared

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
    environment: dict[str, str],
    peer: str = "127.0.0.1",
    host: str = "127.0.0.1:8000",
    build: Callable[[Settings], Litestar] = shared,
) -> AsyncIterator[httpx.AsyncClient]:
    app: Any = build(load_settings(environment))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 50_000))
    async with running(app), httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        yield client


@pytest.fixture
def guarded(environment: dict[str, str], queues: Queues, engine: AsyncEngine) -> dict[str, str]:
    """An environment with admin credentials, on empty servers."""
    return environment | {
        "ADMIN_PASSWORD": PASSWORD,
        "ADMIN_TOKEN": TOKEN,
        "WEB_ALLOWED_HOSTS": "jobs.example.com",
    }


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


async def test_process_and_the_status_of_its_job_need_no_credentials(guarded: dict[str, str]) -> None:
    async with application(guarded, peer="203.0.113.9", host="jobs.example.com") as client:
        key = (await client.post("/process?user_id=1")).json()["job_id"]
        assert (await client.get(f"/jobs/{key}")).status_code == 200
        assert (await client.get("/health/ready")).status_code == 200


@pytest.mark.parametrize(
    ("peer", "host", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8000", 201),
        ("127.0.0.1", "localhost:8000", 201),
        ("::1", "[::1]:8000", 201),
        ("203.0.113.9", "127.0.0.1:8000", 401),
        ("127.0.0.1", "jobs.example.com", 401),
    ],
)
async def test_in_development_without_credentials_only_this_machine_passes(
    environment: dict[str, str], queues: Queues, engine: AsyncEngine, peer: str, host: str, status: int
) -> None:
    environment |= {"WEB_ALLOWED_HOSTS": "jobs.example.com"}
    async with application(environment, peer=peer, host=host) as client:
        assert (await client.post("/tasks/ping")).status_code == status
        assert (await client.get("/saq/")).status_code == (200 if status == 201 else 401)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
async def test_in_development_what_a_proxy_forwards_is_not_of_this_machine(
    client: httpx.AsyncClient, header: str
) -> None:
    assert (await client.post("/tasks/ping", headers={header: "127.0.0.1"})).status_code == 401


async def guess(client: httpx.AsyncClient, headers: dict[str, str], times: int) -> list[int]:
    answers = await asyncio.gather(*(client.post("/tasks/ping", headers=headers) for _ in range(times)))
    return sorted(answer.status_code for answer in answers)


@pytest.mark.parametrize("wrong", [basic("admin", "wrong"), {"authorization": "Bearer wrong"}], ids=str)
async def test_the_admins_credentials_cannot_be_guessed_without_end_not_even_at_once(
    guarded: dict[str, str], wrong: dict[str, str]
) -> None:
    async with application(guarded) as client:
        assert await guess(client, wrong, REFUSALS_PER_MINUTE + 5) == [401] * REFUSALS_PER_MINUTE + [429] * 5
        for right in (basic("admin", PASSWORD), {"authorization": f"Bearer {TOKEN}"}):
            answer = await client.post("/tasks/ping", headers=right)
            assert answer.status_code == 429
            assert 0 < int(answer.headers["retry-after"]) <= 60
        assert (await client.get("/saq/api/queues", headers=right)).status_code == 429


async def test_the_limit_on_guesses_holds_for_all_processes_and_each_network(guarded: dict[str, str]) -> None:
    right = basic("admin", PASSWORD)
    async with application(guarded) as one, application(guarded, build=create_app) as two:
        await guess(one, basic("admin", "wrong"), REFUSALS_PER_MINUTE)
        assert (await two.post("/tasks/ping", headers=right)).status_code == 429
    async with application(guarded, peer="203.0.113.9") as elsewhere:
        assert (await elsewhere.post("/tasks/ping", headers=right)).status_code == 201


async def test_without_redis_guesses_are_limited_and_the_admin_passes(guarded: dict[str, str], tmp_path: Path) -> None:
    async with application(guarded | {"REDIS_URL": f"unix://{tmp_path}/nobody.sock"}) as client:
        assert (await client.get("/emails", headers=basic("admin", PASSWORD))).status_code == 200
        wrong = await guess(client, basic("admin", "wrong"), REFUSALS_PER_MINUTE + 2)
        assert wrong == [401] * REFUSALS_PER_MINUTE + [429] * 2


async def test_the_admin_may_call_as_often_and_as_much_at_once_as_it_likes(guarded: dict[str, str]) -> None:
    async with application(guarded) as client:
        assert await guess(client, basic("admin", PASSWORD), 50) == [201] * 50


async def test_each_refusal_is_a_line_in_the_log_without_secrets_and_without_lines_of_its_own(
    guarded: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with application(guarded, peer="203.0.113.9") as client:
        # The application has set up the logging of the process anew.
        logging.getLogger("saqueduct.security").addHandler(caplog.handler)
        await client.get("/saq/api/queues/a%0Aforged%1B%5B31m", headers=basic("admin", "a guess"))
        await client.get("/saq/", headers={"authorization": "Bearer another guess"})
        await client.get("/saq/")
        logging.getLogger("saqueduct.security").removeHandler(caplog.handler)
    lines = [record.getMessage() for record in caplog.records if record.name == "saqueduct.security"]
    assert lines == [
        r"access refused: GET /saq/api/queues/a\nforged\x1b[31m from 203.0.113.9: wrong credentials",
        "access refused: GET /saq from 203.0.113.9: wrong credentials",
        "access refused: GET /saq from 203.0.113.9: no credentials",
    ]


async def test_no_answer_tells_a_secret(guarded: dict[str, str]) -> None:
    async with application(guarded) as client:
        for path in ("/saq", "/tasks", "/schema/openapi.json", "/health/ready", "/nowhere"):
            assert PASSWORD not in (await client.get(path)).text
