"""A request pays for a scope and a session only when it asks for something of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from dishka import FromDishka, Provider, Scope, make_async_container, provide
from dishka.integrations import litestar as dishka_litestar
from litestar import Litestar, Request, get
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from app.main import create_app
from app.settings import Settings
from app.web.scopes import inject, serve_container
from tests.conftest import running


class Wide:
    """Lives as long as the process."""


class Narrow:
    """Lives as long as a request."""

    def __init__(self, path: str) -> None:
        self.path = path


class Log(list[str]):
    """What happened."""


class Things(Provider):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    @provide(scope=Scope.APP)
    def wide(self) -> Wide:
        self._log.append("wide")
        return Wide()

    @provide(scope=Scope.REQUEST)
    async def narrow(self, wide: Wide, request: Request) -> AsyncIterator[Narrow]:  # type: ignore[type-arg]  # (the container knows the bare class)
        self._log.append("opened")
        yield Narrow(request.url.path)
        self._log.append("closed")


@get("/wide")
@inject
async def wide(thing: FromDishka[Wide]) -> str:
    return type(thing).__name__


@get("/narrow")
@inject
async def narrow(thing: FromDishka[Narrow], same: FromDishka[Narrow]) -> str:
    assert thing is same
    return thing.path


@get("/asked/{name:str}")
@inject
async def asked(request: Request[Any, Any, Any], name: FromPath[str], thing: FromDishka[Narrow]) -> str:
    return f"{request.method} {name} {thing.path}"


@get("/dishka")
@dishka_litestar.inject
async def by_dishka(thing: FromDishka[Narrow]) -> str:
    return thing.path


@get("/fails")
@inject
async def fails(thing: FromDishka[Narrow]) -> None:
    raise LookupError


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
async def web(log: Log) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(build(log)) as client:
        yield client


def build(log: Log) -> Litestar:
    container = make_async_container(Things(log), dishka_litestar.LitestarProvider())

    @asynccontextmanager
    async def closing(_: Litestar) -> AsyncIterator[None]:
        yield
        await container.close()

    handlers = [wide, narrow, asked, by_dishka, fails]
    app = Litestar(handlers, lifespan=[closing], openapi_config=None, logging_config=None)
    serve_container(container, app)
    return app


@asynccontextmanager
async def serving(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(cast("Any", app), raise_app_exceptions=False)
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


async def test_what_the_process_has_opens_no_scope(web: httpx.AsyncClient, log: Log) -> None:
    for _ in range(2):
        assert (await web.get("/wide")).text == "Wide"
    assert log == ["wide"]


async def test_what_a_request_has_is_made_once_and_closed(web: httpx.AsyncClient, log: Log) -> None:
    for _ in range(2):
        assert (await web.get("/narrow")).text == "/narrow"
    assert log == ["wide", "opened", "closed", "opened", "closed"]


async def test_a_scope_is_closed_when_the_handler_fails(web: httpx.AsyncClient, log: Log) -> None:
    assert (await web.get("/fails")).status_code == 500
    assert log == ["wide", "opened", "closed"]


async def test_a_handler_may_take_the_request_and_parameters_too(web: httpx.AsyncClient) -> None:
    assert (await web.get("/asked/ada")).text == "GET ada /asked/ada"


async def test_inject_of_dishka_works_as_well(web: httpx.AsyncClient) -> None:
    assert (await web.get("/dishka")).text == "/dishka"


async def test_what_was_closed_with_one_lifespan_is_made_anew_in_the_next(log: Log) -> None:
    app = build(log)
    for _ in range(2):
        async with serving(app) as client:
            for _ in range(2):
                assert (await client.get("/wide")).text == "Wide"
    assert log == ["wide", "wide"]


class NoSession(Provider):
    @provide(scope=Scope.REQUEST, override=True)
    async def session(self) -> AsyncSession:
        raise AssertionError("nobody needs a session here")


@pytest.mark.usefixtures("queues")
async def test_a_request_that_enqueues_makes_no_session(settings: Settings) -> None:
    app = create_app(settings, NoSession())
    transport = httpx.ASGITransport(cast("Any", app))
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.post("/process", params={"user_id": 7})).status_code == 201
