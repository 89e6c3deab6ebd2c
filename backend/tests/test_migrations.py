"""The migrations: up, down, and the same tables as the models say."""

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

import app.db.migrate
from app.db.base import Base
from saqueduct.postgres import migrate
from saqueduct.postgres.models import metadata
from saqueduct.postgres.table_check import REVISIONS
from tests.fixtures.ports import free_port

VERSIONS = {"alembic_version", "saqueduct_version"}

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
    models = {table.name for table in Base.metadata.sorted_tables}
    # The library makes its other tables itself.
    assert asyncio.run(tables()) == models | VERSIONS | {"outbox", "job_records"}
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
"""Statements that add rows to the tables that each step makes."""


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
    full = asyncio.run(counts(asyncio.run(tables()) - VERSIONS))
    assert {name for name, count in full.items() if count} == {
        "users", "todos", "payments", "campaigns", "outbox", "job_records"
    }  # fmt: skip
    for revision in reversed(ROWS):
        command.downgrade(alembic, f"{int(revision) - 1:04}" if revision != "0001" else "base")
        left = asyncio.run(tables()) - VERSIONS
        assert asyncio.run(counts(left)) == {name: full[name] for name in left}
        if revision == "0008":
            assert asyncio.run(result_of_b()) == "a\ufffdb\\u0000"
    command.upgrade(alembic, "head")
    command.check(alembic)


CATALOG = """
    SELECT 'column', relname || '.' || attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull || ' '
        || coalesce(pg_get_expr(adbin, adrelid), '')
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = $1::text::regnamespace AND attnum > 0 AND NOT attisdropped AND relname = ANY($2)
    UNION ALL SELECT 'options', relname || coalesce(array_to_string(reloptions, ','), '') FROM pg_class
        WHERE relnamespace = $1::text::regnamespace AND relname = ANY($2)
    UNION ALL SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = $1::text AND tablename = ANY($2)
    UNION ALL SELECT 'constraint', relname || ' ' || conname || ' ' || pg_get_constraintdef(pg_constraint.oid)
        FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
        WHERE connamespace = $1::text::regnamespace AND relname = ANY($2)
    UNION ALL SELECT 'trigger', pg_get_triggerdef(pg_trigger.oid)
        FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = $1::text::regnamespace AND relname = ANY($2)
    UNION ALL SELECT 'function', btrim(prosrc) FROM pg_proc WHERE pronamespace = $1::text::regnamespace
"""


async def catalog(schema: str) -> set[tuple[str, str]]:
    """All that makes up the library's tables in a schema."""
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    found = await connection.fetch(CATALOG, schema, [*metadata.tables, "saqueduct_version"])
    await connection.close()
    return {(kind, what.replace(f"{schema}.", "")) for kind, what in found}


def test_the_library_takes_over_the_tables_as_it_makes_them_itself(alembic: Config) -> None:
    url = os.environ["DATABASE_URL"]
    command.upgrade(alembic, "head")
    assert asyncio.run(migrate.current(url)) == "saqueduct_0001"
    asyncio.run(migrate.upgrade(url, revision="saqueduct_0001"))
    asyncio.run(migrate.upgrade(url, "fresh", "saqueduct_0001"))
    taken_over, fresh = asyncio.run(catalog("public")), asyncio.run(catalog("fresh"))
    assert taken_over - fresh == set()
    assert fresh - taken_over == set()


def test_the_tables_of_a_newer_library_are_not_taken_back(alembic: Config) -> None:
    command.upgrade(alembic, "head")
    url = os.environ["DATABASE_URL"]
    asyncio.run(execute(url, "UPDATE saqueduct_version SET version_num = 'saqueduct_0002'"))
    with pytest.raises(DBAPIError, match="newer than saqueduct_0001: downgrade them first"):
        command.downgrade(alembic, "0008")
    assert asyncio.run(migrate.current(url)) == "saqueduct_0002"


def test_a_postgresql_that_is_away_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    monkeypatch.setenv("REDIS_URL", "redis://unused")
    with pytest.raises(SystemExit) as ended:
        app.db.migrate.run()
    assert ended.value.code == 1
    assert re.fullmatch(
        r"PostgreSQL cannot be reached: .*; check the server and DATABASE_URL\n", capsys.readouterr().err
    )


def test_make_migrate_brings_both_to_the_newest(alembic: Config) -> None:
    app.db.migrate.migrate()
    command.check(alembic)
    assert asyncio.run(migrate.current(os.environ["DATABASE_URL"])) == REVISIONS[-1]
