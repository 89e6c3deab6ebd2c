"""A PostgreSQL that can be silent: it keeps its connections, takes new ones, and answers nothing."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from app.main import create_app
from app.settings import Settings, load_settings
from saqueduct import Queues
from tests.chaos.proxy import Network
from tests.conftest import running
from tests.fixtures.poll import eventually

IMPATIENT = {"DATABASE_CONNECT_TIMEOUT": "1", "DATABASE_LOCK_TIMEOUT": "1", "WEB_STATEMENT_TIMEOUT": "2"}


@pytest.fixture
def network(migrated_url: str) -> Iterator[Network]:
    """Between the application of `impatient` and PostgreSQL."""
    url = make_url(migrated_url)
    with Network(f"{url.query['host']}/.s.PGSQL.{url.query.get('port', url.port or 5432)}") as network:
        yield network
        network.silent = False


@pytest.fixture
def impatient(environment: dict[str, str], network: Network) -> Settings:
    """Settings with short limits, whose database is behind the network."""
    url = make_url(environment["DATABASE_URL"])
    through = f"postgresql://{url.username}@127.0.0.1:{network.port}/{url.database}"
    return load_settings({**environment, **IMPATIENT, "DATABASE_URL": through})


@pytest.fixture
async def visitor(impatient: Settings, queues: Queues, engine: AsyncEngine) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application with those settings."""
    async with visiting(impatient) as client:
        yield client


@asynccontextmanager
async def visiting(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application of its own."""
    application = create_app(settings)
    transport = httpx.ASGITransport(cast("Any", application))
    async with (
        running(application),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30) as client,
    ):
        yield client


async def waiting_for(engine: AsyncEngine, table: str) -> None:
    """Return once somebody waits for a lock on a table."""
    query = text(f"SELECT 1 FROM pg_locks WHERE relation = '{table}'::regclass AND NOT granted")  # noqa: S608

    async def waits() -> bool:
        async with engine.connect() as connection:
            return (await connection.execute(query)).first() is not None

    await eventually(waits)
