"""Durable jobs: how fast they are enqueued and run, what that costs worker and PostgreSQL, and how soon a job of a
transaction starts."""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import psutil
import redis

from benchmarks.contenders import SAQUEDUCT, figures_of
from benchmarks.throughput import Progress, Size

SLOTS = 100

ENQUEUES = {"enqueue": "enqueued by 100 coroutines", "enqueue many": "enqueued by enqueue_many"}
"""Measures of the script, and what they are called on the page."""

RUN = "run with 100 slots, until PostgreSQL has all ends"


def durable(url: str, database: str, size: Size, progress: Progress) -> dict[str, Any]:
    """Jobs a second and costs a job; medians of the runs."""
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    options: dict[str, Any] = {"records": "on", "database": database, "durable": "on"}
    for _ in range(size.runs):
        for measure, name in ENQUEUES.items():
            progress(f"durable jobs: {measure}")
            _empty(url, database)
            rates.setdefault(name, []).append(SAQUEDUCT.ask(measure, url, size.jobs // 3, **options)["jobs_per_second"])
        progress("durable jobs: run")
        _empty(url, database)
        rate, cost = _run(url, database, size.jobs, options)
        rates.setdefault(RUN, []).append(rate)
        for name, value in cost.items():
            costs.setdefault(name, []).append(value)
    return {"rates": _medians(rates), "costs": _medians(costs)}


def _run(url: str, database: str, jobs: int, options: Mapping[str, Any]) -> tuple[float, dict[str, float]]:
    """Jobs a second of one worker, and what it costs."""
    SAQUEDUCT.ask("fill", url, jobs, kind="noop", **options)
    before = asyncio.run(_usage(database))
    figures = figures_of(SAQUEDUCT.start("work", url, jobs, concurrency=SLOTS, **options))
    used = asyncio.run(_usage(database))
    took = figures["last"] - figures["first"]
    return jobs / took, {
        "worker, microseconds": figures["cpu"] / jobs * 1e6,
        "PostgreSQL, microseconds": (used.seconds - before.seconds) / jobs * 1e6,
        "transactions": (used.transactions - before.transactions) / jobs,
        "bytes of WAL": (used.wal - before.wal) / jobs,
    }


@dataclass(frozen=True)
class _Usage:
    """What PostgreSQL has used since it started: seconds of processor time, transactions, bytes of its log."""

    seconds: float
    transactions: int
    wal: int


async def _usage(database: str) -> _Usage:
    connection = await asyncpg.connect(database)
    try:
        # Backends report their statistics about once a second.
        await asyncio.sleep(1.5)
        row = await connection.fetchrow("""
            SELECT pg_backend_pid() AS pid, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal,
                xact_commit AS transactions FROM pg_stat_database WHERE datname = current_database()
        """)
        server = psutil.Process(row["pid"]).parent()
        if server is None:
            raise RuntimeError("the server has ended")
        return _Usage(_processor_time(server), row["transactions"], row["wal"])
    finally:
        await connection.close()


def _processor_time(server: psutil.Process) -> float:
    """Of a server and its processes, ended ones included."""
    own = server.cpu_times()
    living = [each.cpu_times() for each in server.children()]
    return float(
        own.user + own.system + own.children_user + own.children_system + sum(t.user + t.system for t in living)
    )


def _empty(url: str, database: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushall()
    asyncio.run(_truncate(database))
    time.sleep(0.5)


async def _truncate(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("TRUNCATE outbox, job_records")
    await connection.execute("CHECKPOINT")
    await connection.close()


def _medians(runs: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(each) for name, each in runs.items()}
