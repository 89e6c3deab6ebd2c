"""Pages of the console with many records, much history and many waiting jobs: milliseconds that each takes, and for
which its process computes.

The records of the current day are of its last DENSE: what no index finds among them takes as long at noon as in the
evening, and they are as dense as on a busy installation. Before 01:30 UTC they are denser still.
"""

import datetime as dt
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar, cast
from unittest.mock import patch

import httpx
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.retention import DAYS, KEEP, TASKS, fill_day, generate
from benchmarks.throughput import Progress
from saqueduct import Concurrency, Context, Saqueduct, SaqueductConfig, TaskRegistry
from saqueduct.common.durations import BUCKETS
from saqueduct.console.view import Console
from saqueduct.litestar import SaqueductPlugin
from saqueduct.postgres.engine import make_engine
from saqueduct.postgres.partition_layout import midnight
from saqueduct.postgres.partitions import Partitions
from saqueduct.postgres.time_steps import DAY, HOUR, MINUTE
from saqueduct.tasks.job import EngineJob

CALLS = 5
"""Of each page, after one that does not count; their median counts."""

BATCH = 10_000
"""Jobs of a call."""

DENSE = dt.timedelta(minutes=90)
"""The time of the current day's records: 10 million records in all make 310 a second of it, as of 27 million a day."""

QUEUES = ("default", "rare", "reports")

SCHEDULES = 20

AUDITED = 100_000
"""Entries of the audit."""

LOGIN = ("ada", "only for figures")

HISTORY = """
    INSERT INTO job_history (step, at, queue, task, enqueued, complete, failed, aborted, retried, recovered,
        wait_seconds, run_seconds, waits, runs)
    SELECT {step}, at, (ARRAY{queues})[1 + n % {kinds}], 'task_' || n, 20, 19, 1, 0, 1, 0, 1.5, 0.9,
        array_fill(1::bigint, ARRAY[{size}]), array_fill(1::bigint, ARRAY[{size}])
    FROM generate_series(0, {tasks} - 1) AS n,
        generate_series(timestamptz '{first}', now(), interval '{step} s') AS at
"""

AUDIT = """
    INSERT INTO job_audit (at, person, role, action, kind, targets, count, why, surface, address)
    SELECT now() - n * interval '1 minute', 'ada', 'admin', 'retry', 'job', ARRAY['key-' || n], 1, 'late', 'console', ''
    FROM generate_series(1, {rows}) AS n
"""

PAGES = {
    "overview, an hour": "/",
    "overview, a day": "/?span=day",
    "overview, a week": "/?span=week",
    "jobs": "/jobs",
    "jobs that wait": "/jobs?status=queued",
    "jobs of a task": "/jobs?task=task_7",
    "jobs of a task that never ran": "/jobs?task=unused",
    "failed jobs": "/jobs?status=failed",
    "jobs, a text": "/jobs?q=number",
    "jobs, a text that none has": "/jobs?q=nobody",
    "jobs, an argument": "/jobs?q=user_id:4711",
    "jobs of a trace that none has": f"/jobs?trace={'a' * 32}",
    "jobs of a queue": "/jobs?queue=rare",
    "jobs of a queue that has none": "/jobs?queue=reports",
    "a job that waits": "/job?key=waits&queue=default",
    "a job that has ended": "/job?key=key-4711&queue=default",
    "dead letters": "/dead-letters",
    "dead letters of a task": "/dead-letters?task=task_0",
    "tasks": "/tasks",
    "a task": "/task?name=task_7",
    "a task with failures": "/task?name=task_0",
    "a task that never ran": "/task?name=unused",
    "queues, an hour": "/queues",
    "queues, a day": "/queues?span=day",
    "queues, a week": "/queues?span=week",
    "workers": "/workers",
    "schedules": "/schedules",
    "audit": "/audit",
    "audit of a job": "/audit?target=key-77",
    "limits": "/limits",
}


class _Console(Console):
    """Lets each call read everything itself: viewers otherwise share what was read in the last seconds."""

    latest: ClassVar["_Console"]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        _Console.latest = self

    def forget(self) -> None:
        self.sampler.forget()
        self.trends.forget()


async def console(redis: str, database: str, records: int, waiting: int, progress: Progress) -> dict[str, Any]:
    """Milliseconds of each page until it answers, and of the processor's time in its process, medians.

    Args:
        redis: URL; what it has is deleted.
        database: URL of a migrated PostgreSQL without rows.
        records: of jobs that have ended.
        waiting: jobs in queues.
        progress: shows what is being done.
    """
    await _fill_database(database, records, progress)
    with tempfile.TemporaryDirectory(prefix="saqueduct-bench-") as directory:
        config = SaqueductConfig(
            redis_url=redis,
            database_url=database,
            registry=_tasks(),
            queues=list(QUEUES),
            admin_username=LOGIN[0],
            admin_password=LOGIN[1],
            secret_key="for figures, of no other use, long enough",  # noqa: S106
            data_directory=Path(directory),
        )
        with patch("saqueduct.console.router.Console", _Console):
            plugin = SaqueductPlugin(config)
            app = Litestar([], plugins=[plugin], logging_config=None)
        async with app.lifespan():
            await _fill_queues(plugin.saqueduct, waiting, progress)
            pages = await _timed(app, progress)
    return {"records": records, "waiting": waiting, "pages": pages}


async def _timed(app: Litestar, progress: Progress) -> dict[str, tuple[float, float]]:
    transport = httpx.ASGITransport(app=cast("Any", app))
    figures: dict[str, tuple[float, float]] = {}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", auth=LOGIN) as client:
        for name, path in PAGES.items():
            progress(f"console: {name}")
            took: list[tuple[float, float]] = []
            for _ in range(1 + CALLS):
                _Console.latest.forget()
                began, worked = time.perf_counter(), time.process_time()
                answer = await client.get(f"/console{path}")
                took.append((time.perf_counter() - began, time.process_time() - worked))
                if answer.status_code != 200:
                    raise RuntimeError(f"{path} answers {answer.status_code}: {answer.text}")
            waited, computed = (statistics.median(each) * 1000 for each in zip(*took[1:], strict=True))
            figures[name] = waited, computed
    return figures


async def _fill_database(database: str, records: int, progress: Progress) -> None:
    engine = make_engine(database, pool_size=2, connect_timeout=10)
    now = dt.datetime.now(dt.UTC)
    today = midnight(now)
    for days in range(1, DAYS + 1):
        progress(f"console: {records:,} records, day {days} of {DAYS}")
        await fill_day(engine, today - dt.timedelta(days=days), records // (DAYS + 1))
    begin = max(today, now - DENSE)
    await generate(engine, begin, now - begin, records - records // (DAYS + 1) * DAYS)
    progress("console: indexes")
    await Partitions(engine, KEEP).maintain()
    for step, days in ((MINUTE, 7), (HOUR, 90), (DAY, 400)):
        progress(f"console: history in steps of {step} s")
        await _fill_history(engine, step, today - dt.timedelta(days=days))
    async with engine.begin() as connection:
        await connection.exec_driver_sql(AUDIT.format(rows=AUDITED))
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.exec_driver_sql("VACUUM ANALYZE")
    await engine.dispose()


async def _fill_history(engine: AsyncEngine, step: int, first: dt.datetime) -> None:
    statement = HISTORY.format(
        step=step, first=first, queues=list(QUEUES), kinds=len(QUEUES), tasks=TASKS, size=len(BUCKETS) + 1
    )
    async with engine.begin() as connection:
        await connection.exec_driver_sql(statement)


async def _fill_queues(saqueduct: Saqueduct, waiting: int, progress: Progress) -> None:
    queue = saqueduct.queues.get(QUEUES[0])
    await queue.redis.flushall()
    await queue.enqueue_many([EngineJob(function="task_0", key="waits", kwargs={"user_id": 1})])
    for first in range(1, waiting, BATCH):
        progress(f"console: {waiting:,} waiting jobs, {first:,}")
        numbers = range(first, min(first + BATCH, waiting))
        jobs = [EngineJob(function=f"task_{n % TASKS}", kwargs={"user_id": n, "city": "Bonn"}) for n in numbers]
        await saqueduct.queues.get(QUEUES[first // BATCH % 10 // 8]).enqueue_many(jobs)


def _tasks() -> TaskRegistry:
    """As many as the records have, one that has none, and schedules."""
    registry = TaskRegistry()

    async def nothing(ctx: Context, *, user_id: int = 0, city: str = "Bonn") -> None:
        """Do nothing."""

    for number in range(TASKS):
        limits = (Concurrency(10, name=f"limit-{number}"),) if number % 10 == 9 else ()
        registry.task(name=f"task_{number}", limits=limits)(nothing)
    registry.task(name="unused")(nothing)
    for number in range(SCHEDULES):
        registry.scheduled_task(cron=f"{number} 3 * * *", name=f"schedule_{number}")(_tick)
    return registry


async def _tick(ctx: Context) -> None:
    """Do nothing at a time of the day."""
