"""The migrations of the library's own tables."""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from saqueduct.errors import ConfigurationError, MigrationFailed, TablesMissing, TablesOutdated
from saqueduct.postgres import migrate, table_check
from saqueduct.postgres.base import quoted
from saqueduct.postgres.engine import sqlalchemy_url
from saqueduct.postgres.models import metadata
from tests.fixtures.poll import eventually
from tests.postgres.empty_databases import run_sql

SCHEMAS = [None, "jobs", "My-jobs"]

OUTBOX_ROW = """
    INSERT INTO {place} (queue, key, queued, job, durable) VALUES ('default', 'a', 1, '{{}}', true)
"""


async def rows(database: AsyncEngine, query: str, **values: Any) -> Sequence[Any]:
    async with database.connect() as connection:
        return (await connection.execute(text(query), values)).scalars().all()


def differences(connection: Connection, schema: str | None) -> list[Any]:
    """Between the tables and the models."""
    models = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        table.to_metadata(models, schema=schema)  # type: ignore[arg-type]  # (None: the default schema)

    def ours(name: str | None, kind: str, _: Any) -> bool:
        return name == schema if kind == "schema" else kind != "table" or name in metadata.tables

    options = {"compare_type": True, "include_schemas": True, "include_name": ours}
    found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), models)
    return found


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_up_makes_the_tables_of_the_models_and_base_removes_them(
    empty_database: AsyncEngine, schema: str | None
) -> None:
    await migrate.upgrade(empty_database, schema)
    async with empty_database.connect() as connection:
        assert await connection.run_sync(differences, schema) == []
    assert await migrate.current(empty_database, schema) == table_check.REVISIONS[-1]
    await migrate.downgrade(empty_database, "base", schema)
    query = """
        SELECT relname FROM pg_class WHERE relkind IN ('r', 'i', 'p', 'I') AND relnamespace = to_regnamespace(:schema)
        UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = to_regnamespace(:schema)
    """
    left = await rows(empty_database, query, schema=f'"{schema or "public"}"')
    assert sorted(left) == ["saqueduct_version", "saqueduct_version_pkc"]
    assert await migrate.current(empty_database, schema) is None


async def test_a_second_upgrade_finds_nothing_to_do_and_keeps_the_rows(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    await run_sql(empty_url, OUTBOX_ROW.format(place="outbox"))
    await migrate.upgrade(empty_url)
    connection = await asyncpg.connect(empty_url)
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 1
    await connection.close()


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_commit_is_notified_with_the_schema_of_its_outbox(empty_url: str, schema: str | None) -> None:
    await migrate.upgrade(empty_url, schema)
    connection = await asyncpg.connect(empty_url)
    heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    await connection.add_listener("saqueduct_outbox", lambda *of_it: heard.set_result(of_it[-1]))
    await connection.execute(OUTBOX_ROW.format(place=quoted("outbox", schema)))
    assert await asyncio.wait_for(heard, 20) == (schema or "public")
    await connection.close()


BEFORE_AUDIT, BEFORE_HISTORY, BEFORE_BATCHES = "saqueduct_0003", "saqueduct_0004", "saqueduct_0005"
BEFORE_PLANS = "saqueduct_0006"

AUDIT_ROW = """
    INSERT INTO job_audit (person, action, kind, targets, why, surface, address)
    VALUES ('ada', 'retry', 'job', '{a}', '', 'cli', 'host')
"""

BATCH_ROW = "INSERT INTO job_audit_batches (entry, queue, enqueued, targets) VALUES (1, 'default', false, '{b,c}')"

HISTORY_ROW = """
    INSERT INTO job_history (step, at, queue, task, enqueued, complete, failed, aborted, retried, recovered,
        wait_seconds, run_seconds, waits, runs)
    VALUES (60, now(), 'default', 'add', 1, 1, 0, 0, 0, 0, 0, 0, '{1}', '{1}')
"""


async def test_audit_and_history_with_rows_go_down_and_up_again_one_by_one(
    empty_url: str, empty_database: AsyncEngine
) -> None:
    await migrate.upgrade(empty_url)
    await run_sql(empty_url, OUTBOX_ROW.format(place="outbox"), AUDIT_ROW, BATCH_ROW, HISTORY_ROW)
    await run_sql(empty_url, BATCH_ROW.replace("(entry,", "(done, entry,").replace("VALUES (", "VALUES (false, "))
    await migrate.downgrade(empty_database, BEFORE_PLANS)
    # Without the column, what was only planned would be shown as done.
    assert await rows(empty_database, "SELECT count(*) FROM job_audit_batches") == [1]
    await migrate.downgrade(empty_database, BEFORE_BATCHES)
    assert await rows(empty_database, "SELECT to_regclass('job_audit_batches') IS NULL") == [True]
    assert await rows(empty_database, "SELECT count(*) FROM job_history") == [1]
    await migrate.downgrade(empty_database, BEFORE_HISTORY)
    assert await rows(empty_database, "SELECT count(*) FROM job_audit") == [1]
    await migrate.downgrade(empty_database, BEFORE_AUDIT)
    assert await rows(empty_database, "SELECT to_regclass('job_audit') IS NULL") == [True]
    await migrate.upgrade(empty_url)
    async with empty_database.connect() as connection:
        assert await connection.run_sync(differences, None) == []
    left = "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM job_audit), (SELECT count(*) FROM job_history)"
    async with empty_database.connect() as connection:
        assert tuple((await connection.execute(text(left))).one()) == (1, 0, 0)


async def test_two_that_migrate_at_once_follow_one_another(empty_database: AsyncEngine) -> None:
    async with empty_database.connect() as first:
        await first.execute(text(f"SELECT pg_advisory_xact_lock({migrate.LOCK})"))
        # Shorter than the other one takes: that is no reason to give up.
        waiting = asyncio.create_task(migrate.upgrade(empty_database, lock_timeout=0.05))
        long = "waitstart < clock_timestamp() - interval '0.2 s'"
        query = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND {long}"  # noqa: S608
        await eventually(lambda: rows(empty_database, query))
        assert not waiting.done()
    await waiting
    assert await migrate.current(empty_database) == table_check.REVISIONS[-1]


async def test_a_table_that_a_transaction_holds_ends_the_migration_in_time(empty_database: AsyncEngine) -> None:
    await migrate.upgrade(empty_database)
    async with empty_database.connect() as holder:
        await holder.execute(text("LOCK TABLE outbox IN ACCESS SHARE MODE"))
        with pytest.raises(MigrationFailed, match=r"nothing was changed.*more than 0\.1 s.*lock_timeout"):
            await migrate.downgrade(empty_database, "base", lock_timeout=0.1)
    assert await migrate.current(empty_database) == table_check.REVISIONS[-1]
    assert await rows(empty_database, "SELECT count(*) FROM job_records") == [0]


async def test_a_table_of_the_application_with_that_name_is_not_touched(empty_database: AsyncEngine) -> None:
    async with empty_database.begin() as connection:
        await connection.execute(text("CREATE TABLE outbox (id int)"))
    with pytest.raises(MigrationFailed, match=r"named outbox .*schema='saqueduct'"):
        await migrate.upgrade(empty_database)
    assert await rows(empty_database, "SELECT to_regclass('saqueduct_version') IS NULL") == [True]
    await migrate.upgrade(empty_database, "saqueduct")


async def test_a_role_that_may_make_no_schema_migrates_in_one_that_exists(empty_url: str) -> None:
    role = f"migrates_{os.getpid()}"
    await run_sql(empty_url, f"CREATE ROLE {role}", f"CREATE SCHEMA jobs AUTHORIZATION {role}")
    engine = create_async_engine(sqlalchemy_url(empty_url), connect_args={"server_settings": {"role": role}})
    try:
        await migrate.upgrade(engine, "jobs")
        assert await migrate.current(engine, "jobs") == table_check.REVISIONS[-1]
    finally:
        await engine.dispose()
        await run_sql(empty_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.mark.parametrize("revision", ["saqueduct_9999", "+99", "no such"])
async def test_an_unknown_revision_is_an_error_that_names_the_known_ones(
    empty_database: AsyncEngine, revision: str
) -> None:
    with pytest.raises(MigrationFailed, match=", ".join(table_check.REVISIONS)):
        await migrate.upgrade(empty_database, revision=revision)


async def test_tables_that_are_newer_than_the_code_are_not_migrated(empty_database: AsyncEngine) -> None:
    await migrate.upgrade(empty_database)
    async with empty_database.begin() as connection:
        await connection.execute(text("UPDATE saqueduct_version SET version_num = 'saqueduct_9999'"))
    with pytest.raises(MigrationFailed, match="saqueduct_9999"):
        await migrate.upgrade(empty_database)


@pytest.mark.parametrize("schema", ["", "pg_jobs", "a:b", 'a"b', "x" * 64, "jobs; DROP"])
async def test_a_schema_that_can_have_no_such_name_is_refused(empty_database: AsyncEngine, schema: str) -> None:
    with pytest.raises(ConfigurationError, match="schema: "):
        await migrate.upgrade(empty_database, schema)


async def checked(database: AsyncEngine, schema: str | None = None) -> None:
    async with database.connect() as connection:
        await migrate.check(connection, schema)


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_missing_tables_are_reported_with_the_command_that_makes_them(
    empty_database: AsyncEngine, schema: str | None
) -> None:
    with pytest.raises(TablesMissing, match=r"outbox, job_records.*saqueduct --app APP migrate"):
        await checked(empty_database, schema)
    await migrate.upgrade(empty_database, schema)
    await checked(empty_database, schema)


async def test_tables_that_are_older_than_the_code_are_reported_with_the_command(
    empty_database: AsyncEngine,
) -> None:
    await migrate.upgrade(empty_database)
    *_, older, newest = table_check.REVISIONS
    async with empty_database.begin() as connection:
        await connection.execute(text("UPDATE saqueduct_version SET version_num = :older"), {"older": older})
    with pytest.raises(TablesOutdated, match=rf"{older}.*{newest}.*saqueduct --app APP migrate"):
        await checked(empty_database)


async def test_tables_that_are_newer_than_the_code_are_fine(empty_database: AsyncEngine) -> None:
    await migrate.upgrade(empty_database)
    async with empty_database.begin() as connection:
        await connection.execute(text("UPDATE saqueduct_version SET version_num = 'saqueduct_9999'"))
    await checked(empty_database)


async def test_tables_without_a_revision_are_judged_by_their_columns(empty_database: AsyncEngine) -> None:
    await migrate.upgrade(empty_database)
    async with empty_database.begin() as connection:
        await connection.execute(text("DROP TABLE saqueduct_version"))
    await checked(empty_database)
    async with empty_database.begin() as connection:
        await connection.execute(text("ALTER TABLE job_records DROP COLUMN payload"))
    with pytest.raises(TablesOutdated, match=r"lack job_records\.payload"):
        await checked(empty_database)


def test_the_known_revisions_are_those_of_the_scripts() -> None:
    scripts = ScriptDirectory("saqueduct/postgres/migrations").walk_revisions()
    assert [script.revision for script in scripts][::-1] == list(table_check.REVISIONS)


async def test_without_alembic_the_error_says_what_to_install(
    empty_database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "alembic.config", None)
    with pytest.raises(ConfigurationError, match=r"pip install saqueduct\[cli\]"):
        await migrate.upgrade(empty_database)
