"""The migrations of users and todos, up and down, on a database of their own."""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from alembic import command
from alembic.config import Config

from tests.conftest import BACKEND

TABLES = ["todos", "user_sessions", "users"]


@pytest.fixture
def empty_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a new database, which DATABASE_URL names."""
    name = "migrations_of_users"
    url = urlunsplit(urlsplit(database_url)._replace(path=f"/{name}"))
    execute(database_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    execute(database_url, f"CREATE DATABASE {name}")
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("REDIS_URL", "redis://unused")
    monkeypatch.chdir(BACKEND)
    yield url
    execute(database_url, f"DROP DATABASE {name} WITH (FORCE)")


def test_the_tables_come_and_go(empty_database: str) -> None:
    config = Config("alembic.ini")
    for _ in range(2):
        command.upgrade(config, "0002")
        assert tables(empty_database) == TABLES
        command.downgrade(config, "0001")
        assert tables(empty_database) == TABLES[1:]
        command.downgrade(config, "base")
        assert tables(empty_database) == []


def tables(url: str) -> list[str]:
    """The tables there are, but for Alembic's own."""
    rows = execute(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [row["tablename"] for row in rows if row["tablename"] != "alembic_version"]


def execute(url: str, statement: str) -> list[Any]:
    """Run one statement on a connection of its own."""

    async def run() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    return asyncio.run(run())
