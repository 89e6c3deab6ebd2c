"""An application whose people have roles, served once for the tests of a module."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

import httpx
from litestar import Litestar, Request, get, post
from litestar.connection import ASGIConnection
from litestar.params import JSONBody
from litestar.response import Response

from saqueduct import Context, Credential, Person, Role, SaqueductConfig, TaskRegistry
from saqueduct.common.password_hash import hash_password
from saqueduct.litestar import SaqueductPlugin
from saqueduct.litestar.access import person_of
from saqueduct.litestar.guards import ROLE, WHEN, RoleGuard
from saqueduct.litestar.peers import KeepPeer
from saqueduct.postgres.store import PostgresStore
from tests.conftest import running
from tests.fixtures.schedules import RARELY

PASSWORD = "correct horse battery staple"
SECRET = "tests only, no secret, but long enough"
PROXY = "10.0.0.7"
PEOPLE = {"vera": Role.VIEWER, "omar": Role.OPERATOR, "ada": Role.ADMIN}


def basic(name: str, password: str = PASSWORD) -> dict[str, str]:
    return {"authorization": httpx.BasicAuth(name, password)._auth_header}


async def identify(connection: ASGIConnection[Any, Any, Any, Any]) -> Person | None:
    """The login of an application."""
    name = connection.headers.get("x-staff")
    return Person(name, Role.OPERATOR) if name else None


class Served(NamedTuple):
    """An application that runs."""

    app: Litestar
    plugin: SaqueductPlugin

    async def call(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, peer: str = "203.0.113.9", **more: Any
    ) -> httpx.Response:
        """Send a request from an address."""
        transport = httpx.ASGITransport(cast("Any", KeepPeer(self.app)), raise_app_exceptions=False, client=(peer, 50))
        base = more.pop("base", "https://jobs.example.com")
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, headers=headers, **more)


@asynccontextmanager
async def served(redis_url: str, name: str, **options: Any) -> AsyncIterator[Served]:
    registry = TaskRegistry()

    @registry.scheduled_task(every=RARELY, queue=name)
    async def tidy(ctx: Context) -> None: ...

    @registry.task(queue=name)
    async def add(ctx: Context, *, a: int, b: int) -> int:
        return a + b

    @get("/whoami", opt={ROLE: Role.VIEWER, WHEN: "optional"})
    async def whoami(request: Request[Any, Any, Any]) -> str:
        person = person_of(request)
        return f"{person.name} {person.role}" if person else "nobody"

    @post("/whoami", opt={ROLE: Role.VIEWER})
    async def change(request: Request[Any, Any, Any]) -> str:
        found = person_of(request)
        return found.name if found else "nobody"

    @post("/login")
    async def login(request: Request[Any, Any, Any], data: JSONBody[dict[str, str]]) -> Response[str]:
        access = plugin.access
        person = await access.sign_in(request, data["name"], data["password"])
        return Response(person.role, cookies=[access.sessions.begin(request, person)])

    config = SaqueductConfig(
        redis_url=redis_url, queues=[name], registry=registry, secret_key=SECRET, environment="production", **options
    )
    plugin = SaqueductPlugin(config)
    app = Litestar([whoami, change, login], plugins=[plugin], logging_config=None, guards=[RoleGuard(plugin.access)])
    async with running(app):
        yield Served(app, plugin)


def people() -> list[Credential]:
    """A person of each role, with PASSWORD."""
    return [Credential(name=name, role=role, hash=hash_password(PASSWORD, log_n=4)) for name, role in PEOPLE.items()]


@asynccontextmanager
async def served_with_tables(redis_url: str, name: str, database_url: str) -> AsyncIterator[Served]:
    """The same with PostgreSQL, which a busy machine may need some time to reach."""
    async with served(
        redis_url, name, credentials=people(), database_url=database_url, database_connect_timeout=20.0
    ) as shop:
        yield shop


def store_of(shop: Served) -> PostgresStore:
    store = shop.plugin.saqueduct.store
    assert store is not None
    return store
