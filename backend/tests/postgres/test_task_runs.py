"""The runs of one task among the records of all: what is read of days that are over, and of today."""

import datetime as dt

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from saqueduct.postgres import migrate
from saqueduct.postgres.base import quoted
from saqueduct.postgres.task_runs import Runs, TaskRuns
from tests.postgres.partition_kit import DAY, HOUR, SCHEMAS, now, sql

INDEXED = now().replace(hour=0, minute=0, second=0, microsecond=0) - 2 * DAY
"""The end of the days with an index by task, here."""


async def record(
    database: AsyncEngine,
    key: str,
    at: dt.datetime,
    seconds: float,
    *,
    task: str = "mine",
    status: str = "complete",
    schema: str | None = None,
) -> None:
    await sql(
        database,
        f"INSERT INTO {quoted('job_records', schema)} "  # noqa: S608
        "(queued_at, key, queue, task, status, attempts, arguments, started_at, ended_at) VALUES "
        f"('{at}', '{key}', 'default', '{task}', '{status}', 1, '{{\"key\": \"{key}\"}}', '{at}', "
        f"timestamptz '{at}' + interval '{seconds} s')",
    )


async def runs(
    database: AsyncEngine, searched: int, *, since: dt.datetime = INDEXED - 7 * DAY, schema: str | None = None
) -> Runs:
    async with AsyncSession(database) as session, session.begin():
        found = await TaskRuns(session, "mine", schema, patience=20, searched=searched).read(since, INDEXED, 2)
    assert found is not None
    return found


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_the_slowest_and_the_arguments_are_those_of_the_task(
    empty_database: AsyncEngine, schema: str | None
) -> None:
    await migrate.upgrade(empty_database, schema)
    for key, at, seconds in (("a", INDEXED - HOUR, 2), ("b", INDEXED - DAY, 9), ("c", INDEXED + HOUR, 5)):
        await record(empty_database, key, at, seconds, schema=schema)
    await record(empty_database, "other", INDEXED, 100, task="other", schema=schema)
    await record(empty_database, "late", INDEXED - 8 * DAY, 100, schema=schema)
    found = await runs(empty_database, 50, schema=schema)
    assert [(each.key, each.seconds) for each in found.slowest] == [("b", 9), ("c", 5)]
    assert found.failed == found.complete == []
    await record(empty_database, "d", INDEXED + 2 * HOUR, 7, status="failed", schema=schema)
    found = await runs(empty_database, 50, schema=schema)
    assert [each.key for each in found.slowest] == ["b", "d"]
    assert found.failed == [{"key": "d"}]
    assert found.complete == [{"key": "c"}, {"key": "a"}, {"key": "b"}]


async def test_of_today_only_the_newest_of_all_tasks_are_read_and_all_that_failed(empty_database: AsyncEngine) -> None:
    await migrate.upgrade(empty_database)
    await record(empty_database, "yesterday", INDEXED - HOUR, 1)
    await record(empty_database, "failed", INDEXED + HOUR, 8, status="failed")
    await record(empty_database, "morning", INDEXED + 2 * HOUR, 9)
    for number in range(3):
        await record(empty_database, f"other-{number}", INDEXED + 3 * HOUR, 1, task="other")
    found = await runs(empty_database, 3)
    assert [each.key for each in found.slowest] == ["yesterday"]
    assert found.failed == [{"key": "failed"}]
    assert found.complete == [{"key": "yesterday"}]
    found = await runs(empty_database, 4)
    assert [each.key for each in found.slowest] == ["morning", "yesterday"]
    assert [each.key for each in (await runs(empty_database, 4, since=INDEXED + 2 * HOUR)).slowest] == ["morning"]


async def test_what_has_no_times_is_not_among_the_slowest(empty_database: AsyncEngine) -> None:
    await migrate.upgrade(empty_database)
    await record(empty_database, "unknown", INDEXED, 1)
    await sql(empty_database, "UPDATE job_records SET started_at = NULL, arguments = NULL, status = 'failed'")
    found = await runs(empty_database, 50)
    assert found.slowest == []
    assert found.failed == [{}]
