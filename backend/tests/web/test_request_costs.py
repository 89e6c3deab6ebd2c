"""What a request pays for: nothing that it does not ask for."""

import gc
from collections.abc import AsyncIterator

import pytest
import uvicorn
from litestar import Litestar, get
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from sqlalchemy.ext.asyncio import AsyncEngine

from app.main import main
from app.settings import Settings
from saqueduct import Queues
from saqueduct.console.router import EntryGuard
from saqueduct.litestar.guards import ROLE, WHEN, RoleGuard
from saqueduct.litestar.router import RequestGuard
from tests.conftest import running
from tests.fixtures.application import application
from tests.fixtures.asgi import is_freed, send, thread_calls

REQUESTS = [
    ("POST", "/process?user_id=7", b""),
    ("POST", "/process", b'{"user_id": 7}'),
    ("POST", "/tasks/my_task", b'{"user_id": 7}'),
    ("POST", "/emails", b'{"to": "ada@example.com", "subject": "Hi", "body": "..."}'),
    ("GET", "/queues", b""),
    ("GET", "/health/live", b""),
]
"""Method, path and body of requests that enqueue or read."""


@pytest.fixture
async def app(settings: Settings, queues: Queues, engine: AsyncEngine) -> AsyncIterator[Litestar]:
    built = application(settings)
    async with running(built):
        yield built


@pytest.mark.parametrize(("method", "target", "body"), REQUESTS)
async def test_no_request_waits_for_a_thread(
    app: Litestar, method: str, target: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await send(app, method, target, body) < 300  # connects
    with thread_calls(monkeypatch) as called:
        assert await send(app, method, target, body) < 300
    assert called == []


@pytest.mark.parametrize(("method", "target", "body"), REQUESTS)
async def test_an_answered_request_leaves_nothing_to_the_garbage_collector(
    app: Litestar, method: str, target: str, body: bytes
) -> None:
    assert await send(app, method, target, body) < 300  # connects, and fills the caches
    assert await is_freed(app, method, target, body)


def test_the_process_does_not_search_its_own_code_for_garbage(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []

    def run(app: Litestar, **options: object) -> None:
        found.append(gc.get_freeze_count())

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(uvicorn, "run", run)
    try:
        main()
    finally:
        gc.unfreeze()
    assert found[0] > 10_000


async def test_calls_of_threads_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def blocking() -> str:
        return "done"

    shop = Litestar([get("/", sync_to_thread=True)(blocking)], openapi_config=None, logging_config=None)
    with thread_calls(monkeypatch) as called:
        assert await send(shop, "GET", "/") == 200
    assert len(called) == 1


OPEN = [("POST", "/process?user_id=7"), ("GET", "/")]


@pytest.mark.parametrize(("method", "target"), OPEN)
async def test_a_route_that_is_open_to_all_pays_for_no_guard(
    app: Litestar, method: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def authorize(self: HTTPRouteHandler, connection: object) -> None:
        asked.append(self.handler_name)

    monkeypatch.setattr(HTTPRouteHandler, "authorize_connection", authorize)
    assert await send(app, method, target) < 400
    assert asked == []


def test_each_route_that_needs_a_role_keeps_its_guard(app: Litestar) -> None:
    guarded = {
        handler.handler_name: handler.resolve_guards()
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if ROLE in handler.opt and handler.opt.get(WHEN) != "on demand"
    }
    assert {"send", "enqueue", "change_status"} <= guarded.keys()
    for name, guards in guarded.items():
        assert any(isinstance(each, RoleGuard | RequestGuard | EntryGuard) for each in guards), name
