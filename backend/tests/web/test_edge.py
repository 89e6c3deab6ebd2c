"""What every request passes."""

from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.main import create_app
from app.settings import load_settings
from app.web.edge import Edge
from saqueduct import Queues
from tests.test_security import PASSWORD, TOKEN, application, basic

PRODUCTION = {
    "ENVIRONMENT": "production",
    "ADMIN_PASSWORD": PASSWORD,
    "ADMIN_TOKEN": TOKEN,
    "SMTP_HOST": "smtp.example.com",
    "WEB_ALLOWED_HOSTS": "jobs.example.com,*.internal.example.com,[2001:db8::1]",
}


@pytest.fixture
def servers(queues: Queues, engine: AsyncEngine) -> None:
    """Empty ones."""


async def ask(client: httpx.AsyncClient, host: str, path: str = "/users/me") -> httpx.Response:
    return await client.get(path, headers={"Host": host})


LOCAL = ("localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "LOCALHOST:8000")
OTHERS = (
    "attacker.example",
    "localhost.attacker.example",
    "attacker.example:8000",
    "127.0.0.1.attacker.example",
    "127.0.0.2",
    "localhost:8000:9",
    "localhost:port",
    "localhost@attacker.example",
    "attacker.example/localhost",
    "[::2]",
    "\xe4.example",
    "",
)
PATHS = ("/users/me", "/jobs/some", "/nowhere", "/saq/", "/schema", "/health/ready")


async def test_in_development_local_names_are_served_on_any_port(client: httpx.AsyncClient) -> None:
    for host in LOCAL:
        assert (await ask(client, host)).status_code == 401, host


async def test_in_development_no_other_name_is_served(client: httpx.AsyncClient) -> None:
    for host in OTHERS:
        for path in PATHS:
            answer = await client.get(path, headers={b"Host": host.encode("latin-1")})
            assert (answer.status_code, answer.json()["code"]) == (400, "unknown-host"), (host, path)
            assert "WEB_ALLOWED_HOSTS" in answer.json()["detail"]


NAMES = [
    ("jobs.example.com", 401),
    ("jobs.example.com:8443", 401),
    ("JOBS.example.com", 401),
    ("a.internal.example.com", 401),
    ("a.b.internal.example.com", 401),
    ("[2001:db8::1]:80", 401),
    ("localhost:8000", 401),
    ("internal.example.com", 400),
    ("xinternal.example.com", 400),
    ("example.com", 400),
    ("jobs.example.com.attacker.example", 400),
]


async def test_in_production_the_names_of_the_setting_are_served(environment: dict[str, str], servers: None) -> None:
    async with application(environment | PRODUCTION) as client:
        for host, status in NAMES:
            assert (await ask(client, host)).status_code == status, host


async def test_in_production_load_balancers_ask_for_health_by_address(
    environment: dict[str, str], servers: None
) -> None:
    async with application(environment | PRODUCTION) as client:
        assert (await ask(client, "10.0.0.7:8000", "/health/live")).status_code == 200
        assert (await ask(client, "10.0.0.7:8000", "/health/ready")).status_code == 200
        assert (await ask(client, "10.0.0.7:8000", "/saq/health")).status_code == 400


FOREIGN = [
    {"origin": "http://attacker.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:9000"},
    {"origin": "http://127.0.0.1"},
    {"origin": "http://127.0.0.1:8000.attacker.example"},
    {"origin": ""},
    {"origin": "file://"},
    {"origin": "null", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"referer": "http://attacker.example/127.0.0.1:8000"},
    {"referer": "http://127.0.0.1:8000@attacker.example/"},
]
CHANGES = [("POST", "/queues/default/pause"), ("POST", "/process?user_id=1"), ("DELETE", "/jobs/one")]


async def test_a_change_by_a_page_of_another_site_is_refused(client: httpx.AsyncClient, queues: Queues) -> None:
    for headers in FOREIGN:
        for method, path in CHANGES:
            answer = await client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (headers, path)
    assert await queues.get("default").count("queued") == 0
    assert await queues.get("default").paused() is None


OURS: list[dict[str, str]] = [
    {},
    {"origin": "http://127.0.0.1:8000"},
    {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
    {"referer": "http://127.0.0.1:8000/saq/"},
    {"referer": "https://elsewhere.example/", "sec-fetch-site": "same-origin"},
]


async def test_programs_and_our_own_pages_pass(client: httpx.AsyncClient) -> None:
    for headers in OURS:
        assert (await client.post("/queues/default/pause", headers=headers)).status_code == 200, headers


async def test_basic_credentials_of_a_browser_do_not_serve_another_site(
    environment: dict[str, str], servers: None
) -> None:
    async with application(environment | PRODUCTION, peer="203.0.113.9", host="jobs.example.com") as client:
        for origin, status in (("https://jobs.example.com", 200), ("http://attacker.example", 403), ("null", 403)):
            headers = basic("admin", PASSWORD) | {"origin": origin}
            assert (await client.post("/queues/default/pause", headers=headers)).status_code == status
        form = basic("admin", PASSWORD) | {"content-type": "text/plain"}
        sent = await client.post("/emails", headers=form, content=b'{"to": "a@example.com", "subject": "", "body": ""}')
        assert sent.status_code == 415


async def test_a_bearer_token_is_not_sent_by_a_browser_itself(environment: dict[str, str], servers: None) -> None:
    async with application(environment | PRODUCTION, host="jobs.example.com") as client:
        headers = {"authorization": f"Bearer {TOKEN}", "origin": "https://app.example.com"}
        assert (await client.post("/queues/default/pause", headers=headers)).status_code == 200


ANSWERS = [
    ("GET", "/health/live"),
    ("GET", "/nowhere"),
    ("POST", "/health/live"),
    ("GET", "/users/me"),
    ("GET", "/saq/"),
    ("GET", "/saq/static/app.js"),
    ("GET", "/saq/static/nowhere.js"),
    ("GET", "/saq/api/queues"),
    ("GET", "/schema"),
    ("GET", "/schema/openapi.json"),
    ("POST", "/process"),
    ("GET", "/jobs?limit=x"),
    ("GET", "/schema/assets/swagger-ui.css"),
]


async def test_every_answer_has_the_headers_that_browsers_heed(client: httpx.AsyncClient) -> None:
    for method, path in ANSWERS:
        headers = (await client.request(method, path)).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"].partition("script-src")[2].partition(";")[0]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("headers", [{"host": "attacker.example"}, {"origin": "null"}], ids=str)
async def test_refusals_have_them_too(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.post("/process", headers=headers)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_what_the_admin_sees_is_kept_in_no_cache(client: httpx.AsyncClient) -> None:
    for path in ("/saq/", "/saq/api/queues", "/jobs", "/schedules", "/queues", "/jobs/some"):
        assert (await client.get(path)).headers["cache-control"] == "no-store", path


@pytest.mark.parametrize(
    "headers",
    [[(b"host", b"attacker.example")], [(b"host", b"127.0.0.1:8000"), (b"origin", b"http://attacker.example")], []],
)
async def test_a_websocket_of_another_site_is_closed(environment: dict[str, str], headers: Any) -> None:
    sent: list[Any] = []

    async def app(*_: Any) -> None:
        raise AssertionError("passed")

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "websocket", "path": "/", "headers": headers}
    receive: Any = None
    await Edge(app, load_settings(environment))(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_the_application_is_behind_the_edge(environment: dict[str, str]) -> None:
    assert isinstance(create_app(load_settings(environment)).asgi_handler, Edge)
