"""The parts of the benchmark: what each measures, under which names it returns its figures."""

import asyncio
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.db.migrate import migrate
from benchmarks import costs, memory, report, throughput
from benchmarks.console import console
from benchmarks.durable import durable
from benchmarks.flow import flow
from benchmarks.http import http
from benchmarks.retention import retention, search
from benchmarks.throughput import Size
from saqueduct.embedded.postgres import EmbeddedPostgres

FULL = Size(runs=3, jobs=30_000, peer_jobs=3_000, latency_jobs=2_000)
QUICK = Size(runs=1, jobs=10_000, peer_jobs=2_000, latency_jobs=300)


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where and how a part is measured.

    Attributes:
        url: of the Redis.
        quick: True: one short run.
        show: called with what is measured at the moment.
        known: figures measured before, by name.
    """

    url: str
    quick: bool
    show: Callable[[str], None]
    known: Mapping[str, Any]

    @property
    def size(self) -> Size:
        return QUICK if self.quick else FULL


def _throughput(bench: Bench) -> dict[str, Any]:
    return {"throughput": throughput.throughput(bench.url, bench.size, bench.show)}


def _latency(bench: Bench) -> dict[str, Any]:
    # Jobs a second of which the loads are parts: what stock SAQ enqueues, runs and waits for at most.
    capacity = report.capacity(dict(bench.known))
    return {"latency": throughput.latency(bench.url, bench.size, capacity, bench.show)}


def _http(bench: Bench) -> dict[str, Any]:
    with _database() as database:
        return {"http": http(bench.url, database, bench.size, bench.show)}


def _costs(bench: Bench) -> dict[str, Any]:
    bench.show("costs by backlog and active jobs")
    backlogs = (0, 10_000) if bench.quick else (0, 10_000, 100_000, 1_000_000)
    active = (10, 1_000) if bench.quick else (10, 1_000, 10_000)
    return {
        "backlog": asyncio.run(costs.by_backlog(bench.url, backlogs)),
        "active": asyncio.run(costs.by_active(bench.url, active)),
        "job bytes": asyncio.run(costs.memory_a_job(bench.url, bench.size.jobs)),
    }


def _idle(bench: Bench) -> dict[str, Any]:
    bench.show("idle workers")
    return {"idle": costs.idle(bench.url, 1 if bench.quick else 10, 50, 5 if bench.quick else 60)}


def _memory(bench: Bench) -> dict[str, Any]:
    bench.show("memory of a worker")
    runs = 2 if bench.quick else 10
    return {"worker memory": costs.memory_of_a_worker(bench.url, runs, bench.size.jobs * 10 // 3)}


def _records(bench: Bench) -> dict[str, Any]:
    with _database() as database:
        records = memory.records(bench.url, database, bench.size, bench.show)
    # In a database of its own: that of the records is still busy with the rows of the last run.
    with _database() as database:
        return {"records": records, "commits": memory.commits(bench.url, database, bench.size, bench.show)}


def _durable(bench: Bench) -> dict[str, Any]:
    with _database() as database:
        return {"durable": durable(bench.url, database, bench.size, bench.show)}


def _flow(bench: Bench) -> dict[str, Any]:
    return {"flow": flow(bench.url, bench.size, bench.show, bench.known.get("flow", {}))}


def _retention(bench: Bench) -> dict[str, Any]:
    rows, rotations = (200_000, 2) if bench.quick else (12_000_000, 3)
    with _database() as database:
        return {"retention": asyncio.run(retention(database, rows, rotations, bench.show))}


def _search(bench: Bench) -> dict[str, Any]:
    rows = 500_000 if bench.quick else 30_000_000
    with _database() as database:
        return {"search": {"rows": rows, "pages": asyncio.run(search(database, rows, bench.show))}}


def _console(bench: Bench) -> dict[str, Any]:
    rows, waiting = (1_000_000, 100_000) if bench.quick else (10_000_000, 1_000_000)
    with _database() as database:
        return {"console": asyncio.run(console(bench.url, database, rows, waiting, bench.show))}


def _peers(bench: Bench) -> dict[str, Any]:
    found, failed = throughput.peers(bench.url, bench.size, bench.show)
    return {"peers": found, "peers failed": failed}


PARTS: Mapping[str, Callable[[Bench], dict[str, Any]]] = {
    "throughput": _throughput,
    "latency": _latency,
    "http": _http,
    "costs": _costs,
    "idle": _idle,
    "memory": _memory,
    "records": _records,
    "durable": _durable,
    "flow": _flow,
    "retention": _retention,
    "search": _search,
    "console": _console,
    "peers": _peers,
}
"""By name, in the order in which they are measured."""


@contextmanager
def _database() -> Iterator[str]:
    """URL of a migrated PostgreSQL with its usual settings."""
    with tempfile.TemporaryDirectory(prefix="saqueduct-bench-") as directory:
        # PostgreSQL's own user must pass.
        Path(directory).chmod(0o755)
        server = EmbeddedPostgres(Path(directory) / "postgres")
        try:
            url = server.start()
            os.environ |= {"DATABASE_URL": url, "REDIS_URL": "redis://unused"}
            migrate()
            yield url
        finally:
            server.stop()
