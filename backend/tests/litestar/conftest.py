"""A plain Litestar application with the queue's HTTP API under `/queue`: no dishka, nothing of the package `app`."""

import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple, Protocol, cast

import httpx
import pytest
from litestar import Litestar, Request, Response, get, post
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.openapi import OpenAPIConfig
from litestar.params import FromPath, FromQuery
from litestar.types import Guard

from saqueduct import Context, Queues, Saqueduct, SaqueductConfig, get_registry, scheduled_task, task
from saqueduct.common.secret import Secret
from saqueduct.litestar.access import Access
from saqueduct.litestar.attempts import Attempts
from saqueduct.litestar.browser_sessions import BrowserSessions
from saqueduct.litestar.credentials import AdminCredentials, CredentialCheck
from saqueduct.litestar.guards import MethodGuard
from saqueduct.litestar.openapi import describe
from saqueduct.litestar.router import install, queue_router
from saqueduct.litestar.saq_plugin import QueuePlugin, saq_config
from saqueduct.postgres.store import PostgresStore
from saqueduct.tasks.registry import TaskRegistry
from tests.conftest import running
from tests.fixtures.schedules import RARELY

PASSWORD = "correct horse battery staple"
ADMIN = ("admin", PASSWORD)
CREDENTIALS = AdminCredentials(password=Secret(PASSWORD))


class Parts(NamedTuple):
    """What `queue_router` needs."""

    queues: Queues
    registry: TaskRegistry
    store: PostgresStore | None
    signing_key: Secret


class Plain(NamedTuple):
    """The application under test."""

    app: Litestar
    client: httpx.AsyncClient
    saqueduct: Saqueduct


class Build(Protocol):
    """Serves an application in a block; the keywords are those of `build`."""

    def __call__(self, **options: Any) -> AbstractAsyncContextManager[Plain]: ...


@get("/things/{name:str}")
async def show_thing(name: FromPath[str], colour: FromQuery[str] = "red") -> dict[str, str]:
    return {"name": name, "colour": colour}


@post("/things")
async def make_thing() -> None:
    raise ValueError("no more things")


@get("/jobs")
async def own_jobs() -> list[str]:
    return ["baker"]


def of_the_application(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """The application's own handler of errors."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return Response({"oops": str(error)}, status_code=status)


def build(
    saqueduct: Saqueduct,
    *,
    path: str = "/queue",
    guards: list[Guard] | None = None,
    credentials: AdminCredentials = CREDENTIALS,
    store: bool = True,
    production: bool = False,
    **options: Any,
) -> Litestar:
    """A Litestar application with routes, handlers of errors and an OpenAPI document of its own.

    Args:
        saqueduct: the queues.
        path: of the queue's routes.
        guards: of the application, in place of credentials.
        credentials: of the admin.
        store: False: without PostgreSQL.
        production: as `Access` takes it.
        options: of Litestar.
    """
    key = Secret("tests only, no secret, but long enough")
    parts = Parts(saqueduct.queues, saqueduct.registry, saqueduct.store if store else None, key)
    check = CredentialCheck(credentials, (), Attempts(saqueduct.queues.get("default"), key))
    access = Access(check, BrowserSessions(key, 3600.0, check.proof), guards=guards, production=production)
    router = queue_router(parts, path=path, access=access, max_payload_bytes=64 * 1024)
    document = describe(OpenAPIConfig("Shop", "1.0"), router, saqueduct.registry, credentials=guards is None)
    app = Litestar(
        [show_thing, make_thing, own_jobs, router],
        exception_handlers={Exception: of_the_application, 404: of_the_application, 400: of_the_application},
        openapi_config=document,
        plugins=[QueuePlugin(saq_config(saqueduct.queues, [MethodGuard(access)]), saqueduct.queues.audit)],
        logging_config=None,
        lifespan=[lambda _: saqueduct],
        **options,
    )
    install(app)
    return app


def built(redis_url: str, database_url: str, **options: Any) -> tuple[Litestar, Saqueduct]:
    """An application, and its queues."""
    config = SaqueductConfig(redis_url=redis_url, database_url=database_url, database_connect_timeout=20.0)
    saqueduct = Saqueduct(config)
    return build(saqueduct, **options), saqueduct


@functools.cache
def usual(redis_url: str, database_url: str) -> tuple[Litestar, Saqueduct]:
    """The one without options, started again for each test: to build it takes longer than most of them."""
    return built(redis_url, database_url)


@pytest.fixture
def shop_tasks() -> Iterator[None]:
    """The tasks of the application, and no others."""
    with get_registry().isolated():

        @task
        async def add(ctx: Context, *, a: int, b: int) -> int:
            """Add two numbers.

            Slowly.
            """
            return a + b

        @scheduled_task(every=RARELY)
        async def tidy(ctx: Context) -> None: ...

        yield


@pytest.fixture
def serve(redis_url: str, migrated_url: str, empty_redis: None, engine: Any, shop_tasks: None) -> Build:
    """Builds and serves an application on an empty Redis and empty tables."""

    @asynccontextmanager
    async def serve(peer: str = "203.0.113.9", **options: Any) -> AsyncIterator[Plain]:
        app, saqueduct = built(redis_url, migrated_url, **options) if options else usual(redis_url, migrated_url)
        transport = httpx.ASGITransport(cast("Any", app), raise_app_exceptions=False, client=(peer, 50_000))
        base = "https://shop.example.com"
        async with running(app), httpx.AsyncClient(transport=transport, base_url=base) as client:
            yield Plain(app, client, saqueduct)

    return serve


@pytest.fixture
async def plain(serve: Build) -> AsyncIterator[Plain]:
    async with serve() as plain:
        yield plain


async def members_only(connection: Any, _: Any) -> None:
    """A guard of the application."""
    if connection.headers.get("x-member") != "yes":
        raise NotAuthorizedException("members only")
