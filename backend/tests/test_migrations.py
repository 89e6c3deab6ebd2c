"""The migrations: up, down, and the same tables as the models say."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import make_url

from app.db.base import Base
from saqueduct.postgres.models import metadata

BACKEND = Path(__file__).resolve().parents[1]


@pytest.fixture
def alembic(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """Alembic on an empty database of its own."""
    name = f"migrations_{os.getpid()}"
    asyncio.run(execute(database_url, f"CREATE DATABASE {name}"))
    own = make_url(database_url).set(database=name).render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", own)
    monkeypatch.setenv("REDIS_URL", "redis://unused")
    monkeypatch.chdir(BACKEND)
    yield Config("alembic.ini")
    asyncio.run(execute(database_url, f"DROP DATABASE {name}"))


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def tables() -> set[str]:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()
    return {row["tablename"] for row in rows}


def test_up_makes_the_tables_of_the_models_and_down_removes_them(alembic: Config) -> None:
    command.upgrade(alembic, "head")
    models = {table.name for each in (Base.metadata, metadata) for table in each.sorted_tables}
    assert asyncio.run(tables()) == models | {"alembic_version"}
    command.check(alembic)
    command.downgrade(alembic, "base")
    assert asyncio.run(tables()) == {"alembic_version"}
    command.upgrade(alembic, "head")


def test_each_step_goes_down_and_up_again(alembic: Config) -> None:
    command.upgrade(alembic, "head")
    for _ in range(len(list((BACKEND / "app/db/migrations/versions").glob("0*.py")))):
        command.downgrade(alembic, "-1")
    for _ in range(len(list((BACKEND / "app/db/migrations/versions").glob("0*.py")))):
        command.upgrade(alembic, "+1")
    command.check(alembic)


ROWS = {
    "0001": [
        "INSERT INTO users (email, password_hash, status) VALUES ('ada@example.com', 'none', 'active')",
    ],
    "0002": ["INSERT INTO todos (user_id, title) VALUES (1, 'Look around')"],
    "0004": [
        "INSERT INTO payments (idempotency_key, amount, currency, status) VALUES ('k', 100, 'EUR', 'pending')",
    ],
    "0005": ["INSERT INTO campaigns (name, subject, body, status) VALUES ('spring', 'Hi', '...', 'draft')"],
    "0006": [
        "INSERT INTO outbox (queue, key, queued, job, durable) VALUES ('default', 'a', 1, '{}', true)",
        """
        INSERT INTO job_records (queued_at, key, queue, task, status, attempts, tags)
        VALUES (now(), 'a', 'default', 'ping', 'failed', 1, '{x}')
        """,
    ],
    "0008": [
        """
        INSERT INTO job_records (queued_at, key, queue, task, status, attempts, arguments, payload, result)
        VALUES (now(), 'b', 'default', 'ping', 'failed', 1, '{"a": "?"}', '{"a": "\\u0000"}', '"a\\u0000b\\\\u0000"')
        """,
    ],
}
"""What stands in the tables that each step makes."""


async def counts(names: set[str]) -> dict[str, int]:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    found = {name: await connection.fetchval(f'SELECT count(*) FROM "{name}"') for name in names}  # noqa: S608
    await connection.close()
    return found


async def result_of_b() -> str:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    found = await connection.fetchval("SELECT result #>> '{}' FROM job_records WHERE key = 'b'")
    await connection.close()
    return str(found)


def test_rows_stay_when_steps_go_up_and_down(alembic: Config) -> None:
    for revision, statements in ROWS.items():
        command.upgrade(alembic, revision)
        for statement in statements:
            asyncio.run(execute(os.environ["DATABASE_URL"], statement))
    command.upgrade(alembic, "head")
    full = asyncio.run(counts(asyncio.run(tables()) - {"alembic_version"}))
    assert {name for name, count in full.items() if count} == {
        "users", "todos", "payments", "campaigns", "outbox", "job_records"
    }  # fmt: skip
    for revision in reversed(ROWS):
        command.downgrade(alembic, f"{int(revision) - 1:04}" if revision != "0001" else "base")
        left = asyncio.run(tables()) - {"alembic_version"}
        assert asyncio.run(counts(left)) == {name: full[name] for name in left}
        if revision == "0008":
            assert asyncio.run(result_of_b()) == "a\ufffdb\\u0000"
    command.upgrade(alembic, "head")
    command.check(alembic)
