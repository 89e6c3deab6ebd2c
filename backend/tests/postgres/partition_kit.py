"""A database with partitions of job records, what is in them, and writers that go on meanwhile."""

import asyncio
import datetime as dt
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct import TaskRegistry
from saqueduct.common.moments import milliseconds
from saqueduct.postgres import migrate
from saqueduct.postgres.base import quoted
from saqueduct.postgres.partition_layout import (
    Layout,
    Partition,
    read,
)
from saqueduct.postgres.partitions import Partitions
from saqueduct.postgres.records import Rows
from saqueduct.postgres.retention import Retention
from saqueduct.postgres.rows import Row
from tests.fixtures.poll import eventually

SCHEMAS = [None, "My-jobs"]
KEEP = Retention(complete=7, aborted=30, failed=90)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)

numbers = itertools.count()


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def row(queued: dt.datetime, status: str = "complete", *, ended: dt.datetime | None = None, key: str = "") -> Row:
    at, end = milliseconds(queued), milliseconds(ended or queued)
    key = key or f"job-{next(numbers)}"
    return Row(at, key, "default", "work", status, 0, 1, 0, None, None, None, None, None, None, at, end, None)


async def write(database: AsyncEngine, *rows: Row, schema: str | None = None, copy: bool = True) -> None:
    async with database.begin() as connection:
        await Rows(TaskRegistry(), schema=schema).write(connection, rows, copy=copy)


async def sql(database: AsyncEngine, statement: str) -> Sequence[Any]:
    async with database.begin() as connection:
        found = await connection.exec_driver_sql(statement)
        return found.all() if found.returns_rows else []


async def layout(database: AsyncEngine, schema: str | None = None) -> Layout:
    async with database.begin() as connection:
        return await read(connection, schema)


async def places(database: AsyncEngine, schema: str | None = None) -> dict[str, str]:
    """The partition of each record, by the record's key."""
    found = await sql(database, f"SELECT key, tableoid::regclass::text FROM {quoted('job_records', schema)}")  # noqa: S608
    return {key: table.rpartition(".")[2] for key, table in found}


async def first_revision(database: AsyncEngine, schema: str | None = None) -> None:
    """Tables without partitions, to which the present code can write."""
    await migrate.upgrade(database, schema, "saqueduct_0001")
    added = "ADD COLUMN IF NOT EXISTS attempt_trace text, ADD COLUMN IF NOT EXISTS logs json"
    await sql(database, f"ALTER TABLE {quoted('job_records', schema)} {added}")


async def upgraded(database: AsyncEngine, *rows: Row, schema: str | None = None) -> None:
    """A database with rows that were written before the upgrade."""
    await first_revision(database, schema)
    if rows:
        await write(database, *rows, schema=schema)
    await migrate.upgrade(database, schema)


async def divided(database: AsyncEngine, day: dt.datetime, *rows: Row, kept: bool = False) -> Partition:
    """A database with a partition of one past day that has these rows."""
    await migrate.upgrade(database)
    name, end = f"job_records_{day:%Y%m%d}{'_kept' if kept else ''}", day + DAY
    await sql(database, "ALTER TABLE job_records DETACH PARTITION job_records_first_kept")
    first, mine = f"FROM (MINVALUE) TO ('{day}')", f"FROM ('{day}') TO ('{end}')"
    await sql(database, f"ALTER TABLE job_records ATTACH PARTITION job_records_first_kept FOR VALUES {first}")
    await sql(database, f"CREATE TABLE {name} PARTITION OF job_records FOR VALUES {mine}")
    await Partitions(database, Retention(complete=3650)).fill()
    await write(database, *rows)
    return next(each for each in (await layout(database)).partitions if each.name == name)


class Writers:
    """Writes records in several ways, as fast as it can, until it is stopped."""

    def __init__(self, database: AsyncEngine, schema: str | None) -> None:
        self._database, self._schema = database, schema
        self.written: dict[bool, list[str]] = {True: [], False: []}

    async def write(self, *, copy: bool) -> None:
        while True:
            # Of old days too: jobs that ended long after their enqueue.
            records = [row(now() - DAY * (place % 12), ended=now()) for place in range(20)]
            await write(self._database, *records, schema=self._schema, copy=copy)
            self.written[copy] += [each.key for each in records]

    async def further(self) -> None:
        """Return when each has written again: what it had begun before is written then."""
        before = {copy: len(keys) for copy, keys in self.written.items()}
        await eventually(lambda: all(len(keys) > before[copy] + 40 for copy, keys in self.written.items()))


@asynccontextmanager
async def writing(database: AsyncEngine, schema: str | None = None) -> AsyncIterator[Writers]:
    """Nothing that they write fails, or is lost."""
    writers = Writers(database, schema)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(writers.write(copy=copy)) for copy in (True, False)]
        await writers.further()
        yield writers
        await writers.further()
        for task in tasks:
            task.cancel()
    assert {key for keys in writers.written.values() for key in keys} <= (await places(database, schema)).keys()
