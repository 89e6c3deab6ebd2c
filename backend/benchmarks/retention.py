"""Days of job records: how long they take to be dropped while others write, and searches in many records."""

import asyncio
import contextlib
import datetime as dt
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from benchmarks.throughput import Progress
from saqueduct import TaskRegistry
from saqueduct.postgres.engine import make_engine
from saqueduct.postgres.history import JobHistory
from saqueduct.postgres.partition_layout import midnight, read
from saqueduct.postgres.partitions import Partitions
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.postgres.records import Rows
from saqueduct.postgres.retention import Retention
from saqueduct.postgres.rows import Row

KEEP = Retention(complete=7, aborted=30, failed=90)
DAY = dt.timedelta(days=1)
TASKS = 50
WRITERS = 2
DAYS = 5
"""Over which the records for searches are spread, the last ones before today."""

GENERATE = """
    INSERT INTO job_records (queued_at, key, queue, task, status, attempts, arguments, result, error, tags, worker,
        started_at, ended_at)
    SELECT at, 'key-' || n, CASE WHEN n % 1000 = 0 THEN 'rare' ELSE 'default' END, 'task_' || n % {tasks},
        CASE WHEN n % 200 = 0 THEN 'failed' ELSE 'complete' END, 1,
        CASE WHEN n % 3 > 0 THEN jsonb_build_object('user_id', n % 100000, 'city', 'Bonn') END,
        '{{"ok": true}}', CASE WHEN n % 200 = 0 THEN 'ValueError: number ' || n END,
        CASE WHEN n % 5000 = 0 THEN ARRAY['billing'] END, 'worker-1', at, at + interval '5 ms'
    FROM (
        SELECT n, timestamptz '{first}' + n * (interval '{seconds} s' / {rows}) AS at
        FROM generate_series(0, {rows} - 1) AS n
    )
"""

SEARCHES = {
    "newest": {},
    "of a task": {"task": "task_7"},
    "failed": {"status": "failed"},
    "failed, of a task": {"task": "task_0", "status": "failed"},
    "failed, text in the error": {"status": "failed", "error": "number 4"},
    "an argument": {"arguments": {"user_id": 4711}},
    "a tag": {"tag": "billing"},
    "of a rare queue": {"queue": "rare"},
    "of a queue without jobs": {"queue": "other"},
    "an argument of two thirds": {"arguments": {"city": "Bonn"}},
    "a trace that no job has": {"trace": "a" * 32},
    "failed, a text that no error has": {"status": "failed", "error": "nobody has this"},
}
"""Filters of `GET /jobs`."""


async def retention(database: str, rows: int, rotations: int, progress: Progress) -> list[dict[str, float]]:
    """Drop a day of so many records, several times, while others write: figures of each rotation."""
    engine = make_engine(database, pool_size=WRITERS + 3, connect_timeout=10)
    figures: list[dict[str, float]] = []
    for rotation in range(rotations):
        progress(f"retention: {rows:,} records, {rotation + 1} of {rotations}")
        await fill_day(engine, midnight(dt.datetime.now(dt.UTC)) - (20 + rotation) * DAY, rows)
        async with _writing(engine) as quiet:
            await asyncio.sleep(3)
        async with _writing(engine) as longest:
            began = time.perf_counter()
            await Partitions(engine, KEEP).maintain()
            took = time.perf_counter() - began
        size = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname LIKE 'job_records%kept'"
        figures.append(
            {
                "rows": rows,
                "seconds": took,
                "longest": longest[0],
                "quiet": quiet[0],
                "size": float((await _run(engine, size)).scalar_one()),
            }
        )
    await engine.dispose()
    return figures


async def search(database: str, rows: int, progress: Progress) -> dict[str, float]:
    """Milliseconds of a page of 50 in so many records of closed days, by filter; medians."""
    engine = make_engine(database, pool_size=2, connect_timeout=10)
    for days in range(1, DAYS + 1):
        progress(f"search: {rows:,} records, day {days} of {DAYS}")
        await fill_day(engine, midnight(dt.datetime.now(dt.UTC)) - days * DAY, rows // DAYS)
    progress("search: indexes")
    await Partitions(engine, KEEP).maintain()
    await _run(engine, "ANALYZE job_records")
    sessions = async_sessionmaker(engine)
    figures: dict[str, float] = {}
    for name, filters in SEARCHES.items():
        which, took = RecordFilter(**filters), []  # type: ignore[arg-type]
        for _ in range(11):
            async with sessions() as session:
                began = time.perf_counter()
                await JobHistory(session).page(which)
                took.append(time.perf_counter() - began)
        figures[name] = statistics.median(took) * 1000
    await engine.dispose()
    return figures


async def fill_day(engine: AsyncEngine, day: dt.datetime, rows: int) -> None:
    """Give a day before all others a partition of its own, and fill it."""
    async with engine.begin() as connection:
        first = (await read(connection, None)).partitions[0].name
    await _run(engine, f"DROP TABLE {first}")
    mine = f"job_records_{day:%Y%m%d}"
    await _run(engine, f"CREATE TABLE {mine} PARTITION OF job_records FOR VALUES FROM ('{day}') TO ('{day + DAY}')")
    await Partitions(engine, KEEP).fill()
    await generate(engine, day, DAY, rows)
    await _run(engine, f"ANALYZE {mine}")


async def generate(engine: AsyncEngine, first: dt.datetime, time: dt.timedelta, rows: int) -> None:
    """Record so many jobs, spread over a time."""
    await _run(engine, GENERATE.format(tasks=TASKS, first=first, seconds=time.total_seconds(), rows=rows))


@asynccontextmanager
async def _writing(engine: AsyncEngine) -> AsyncIterator[list[float]]:
    """Workers that record their jobs; gives the longest time of a write in seconds."""
    longest = [0.0]
    tasks = [asyncio.create_task(_write(engine, number, longest)) for number in range(WRITERS)]
    try:
        yield longest
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _write(engine: AsyncEngine, number: int, longest: list[float]) -> None:
    recorder, written = Rows(TaskRegistry()), 0
    while True:
        now, written = int(time.time() * 1000), written + 100
        batch = [
            Row(
                now,
                f"{now}-{number}-{written + n}",
                "default",
                "task_0",
                "complete",
                0,
                1,
                0,
                b'{"a":1}',
                None,
                None,
                None,
                None,
                "worker",
                now,
                now,
                None,
            )
            for n in range(100)
        ]
        began = time.perf_counter()
        async with engine.begin() as connection:
            await recorder.write(connection, batch)
        longest[0] = max(longest[0], time.perf_counter() - began)
        await asyncio.sleep(0.02)


async def _run(engine: AsyncEngine, statement: str) -> Any:
    async with engine.begin() as connection:
        return await connection.exec_driver_sql(statement)
