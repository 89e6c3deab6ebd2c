"""Searches in many records: what is rare is found by an index, and not by reading all records in their order."""

import re
from typing import Any

from sqlalchemy import Select, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from saqueduct.postgres import migrate
from saqueduct.postgres.history import DEAD, conditions
from saqueduct.postgres.index_order import in_index_order
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.partition_layout import midnight
from saqueduct.postgres.partitions import Partitions
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.postgres.record_places import PLACE
from saqueduct.postgres.retention import Retention
from tests.postgres.empty_databases import run_sql
from tests.postgres.partition_kit import DAY, divided, now

FILL = """
    INSERT INTO job_records (queued_at, key, queue, task, status, attempts, arguments, error)
    SELECT date_trunc('day', now(), 'UTC') - interval '3 days' + n * interval '1 second', 'key-' || n,
        CASE WHEN n % 2000 = 0 THEN 'rare' ELSE 'default' END, 'task_' || n % 5,
        CASE WHEN n % 200 = 0 THEN 'failed' ELSE 'complete' END, 1, NULL,
        CASE WHEN n % 200 = 0 THEN 'ValueError: number ' || n END
    FROM generate_series(1, 20_000) AS n
"""


SEARCHES = {
    "trace": RecordFilter(trace="a" * 32),
    "attempt": RecordFilter(trace="a" * 32),
    "queue": RecordFilter(queue="rare", status="complete"),
    "status_queued_at_key_queue_idx": RecordFilter(error="nobody has this"),
}
"""By the last part of the name of the index that finds it, which PostgreSQL has made where all partitions have one; no
record has a trace, and all of the rare queue failed."""


OF_TASK = RecordFilter(task="task_0")


async def test_what_is_rare_is_found_by_an_index(empty_url: str, empty_database: AsyncEngine) -> None:
    # The records are in a partition that is closed also at midnight: the first one is so some minutes later.
    closed = await divided(empty_database, midnight(now()) - 3 * DAY)
    await run_sql(empty_url, FILL)
    await Partitions(empty_database, Retention()).maintain()
    await run_sql(empty_url, "ANALYZE job_records")
    plans = {suffix: await plan_of(empty_database, which) for suffix, which in SEARCHES.items()}
    assert [suffix for suffix, plan in plans.items() if suffix not in used(plan, closed.name)] == []


async def test_dead_letters_runs_of_schedules_and_failures_of_tasks_are_found_by_indexes_of_every_day(
    empty_url: str, empty_database: AsyncEngine
) -> None:
    await migrate.upgrade(empty_database)
    await run_sql(empty_url, FILL)
    await Partitions(empty_database, Retention()).maintain()
    await run_sql(empty_url, "VACUUM ANALYZE job_records")
    schedule = "SELECT key FROM job_records WHERE schedule = 'nightly' ORDER BY queued_at DESC LIMIT 10"
    assert "schedule" in used(await explained(empty_database, schedule))
    failed = "SELECT key FROM job_records WHERE task = 'none' AND status = 'failed' ORDER BY queued_at DESC LIMIT 500"
    assert "task_incomplete" in used(await explained(empty_database, failed))
    plan = await explained(empty_database, literally(select(JobRecord.queue).where(*DEAD).limit(1000)))
    assert "dead" in used(plan)
    assert "Index Only Scan" in plan


async def plan_of(database: AsyncEngine, which: RecordFilter) -> str:
    """How PostgreSQL finds a page; a small one, for which it tends to read all records in their order."""
    query = select(JobRecord).where(*conditions(which)).order_by(*(column.desc() for column in PLACE)).limit(2)
    return await explained(database, literally(query))


def literally(query: Select[Any]) -> str:
    return str(query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))  # type: ignore[no-untyped-call]


async def explained(database: AsyncEngine, statement: str) -> str:
    async with database.connect() as connection:
        found = await connection.exec_driver_sql(f"EXPLAIN {statement}")
        return "\n".join(found.scalars())


def used(plan: str, partition: str = "job_records_first") -> set[str]:
    """The indexes of a partition that a plan uses, each without its name; by default of that of all former days."""
    return set(re.findall(rf"\b{partition}_(?:kept_)?(\w+)", plan))


async def test_the_first_of_what_matches_are_read_in_the_order_of_an_index(
    empty_url: str, empty_database: AsyncEngine
) -> None:
    await migrate.upgrade(empty_database)
    # Jobs of one task alone fail: the planner expects a fifth of them, which it would read and sort.
    await run_sql(empty_url, FILL)
    await Partitions(empty_database, Retention()).maintain()
    await run_sql(empty_url, "ANALYZE job_records")
    async with AsyncSession(empty_database) as session, session.begin():
        first = select(JobRecord).where(*conditions(OF_TASK), *DEAD).order_by(*(column.desc() for column in PLACE))
        query = text(f"EXPLAIN {literally(first.limit(60))}")
        before = "\n".join(await session.scalars(query))
        assert "Sort" in before
        async with in_index_order(session, OF_TASK):
            plan = "\n".join(await session.scalars(query))
        assert "Sort" not in plan
        assert "task_incomplete" in used(plan)
        assert "\n".join(await session.scalars(query)) == before
        async with in_index_order(session, RecordFilter(task="task_0", tag="rare")):
            assert "\n".join(await session.scalars(query)) == before
