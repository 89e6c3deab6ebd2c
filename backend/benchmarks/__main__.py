"""`python -m benchmarks`: measure on an embedded Redis of its own, keep the figures, and write the page."""

import asyncio
import datetime as dt
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.db.migrate import migrate
from benchmarks import costs, memory, report, throughput
from benchmarks.console import console
from benchmarks.durable import durable
from benchmarks.http import http
from benchmarks.machine import describe
from benchmarks.retention import retention, search
from benchmarks.throughput import Size
from saqueduct.embedded.postgres import EmbeddedPostgres
from saqueduct.embedded.redis import EmbeddedRedis

RESULTS = Path(__file__).parent / "results.json"

FULL = Size(runs=5, jobs=30_000, peer_jobs=3_000, latency_jobs=2_000)
QUICK = Size(runs=1, jobs=10_000, peer_jobs=2_000, latency_jobs=300)

PARTS = (
    "throughput",
    "latency",
    "http",
    "costs",
    "idle",
    "memory",
    "records",
    "durable",
    "retention",
    "search",
    "console",
    "peers",
)


@click.command()
@click.option("--quick", is_flag=True, help="One short run of each, for a first look; nothing is kept.")
@click.option(
    "--only", type=click.Choice(PARTS), multiple=True, help="Some parts; of the others the last figures stay."
)
@click.option("--page", is_flag=True, help="Write the page from the figures that were kept; measure nothing.")
def main(quick: bool, only: tuple[str, ...], page: bool) -> None:
    """Measure Saqueduct against stock SAQ and other queues."""
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not page:
        with tempfile.TemporaryDirectory(prefix="saqueduct-bench-") as directory:
            port = _free_port()
            server = EmbeddedRedis(Path(directory) / "redis", port)
            try:
                server.start()
                # Not every contender knows unix sockets.
                results |= _measure(f"redis://127.0.0.1:{port}/0", QUICK if quick else FULL, only or PARTS, results)
            finally:
                server.stop()
    Console().print(report.markdown(results), highlight=False, markup=False)
    if not quick:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        report.write(results)


def _measure(url: str, size: Size, parts: tuple[str, ...], before: dict[str, Any]) -> dict[str, Any]:
    run = {"date": dt.datetime.now(dt.UTC).date().isoformat(), "machine": describe(url)}
    results: dict[str, Any] = {"measured": before.get("measured", {}) | dict.fromkeys(parts, run)}
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), transient=True) as progress:
        line = progress.add_task("")

        def show(what: str) -> None:
            progress.update(line, description=what)

        if "throughput" in parts:
            results["throughput"] = throughput.throughput(url, size, show)
        if "latency" in parts:
            results["latency"] = throughput.latency(url, size, _capacity({**before, **results}), show)
        if "http" in parts:
            with _database() as database:
                results["http"] = http(url, database, size, show)
        if "costs" in parts:
            show("costs by backlog and active jobs")
            backlogs = (0, 10_000) if size is QUICK else (0, 10_000, 100_000, 1_000_000)
            results["backlog"] = asyncio.run(costs.by_backlog(url, backlogs))
            results["active"] = asyncio.run(costs.by_active(url, (10, 1_000) if size is QUICK else (10, 1_000, 10_000)))
            results["job bytes"] = asyncio.run(costs.memory_a_job(url, size.jobs))
        if "idle" in parts:
            show("idle workers")
            results["idle"] = costs.idle(url, 1 if size is QUICK else 10, 50, 5 if size is QUICK else 60)
        if "memory" in parts:
            show("memory of a worker")
            results["worker memory"] = costs.memory_of_a_worker(url, 2 if size is QUICK else 10, size.jobs * 10 // 3)
        if "records" in parts:
            with _database() as database:
                results["records"] = memory.records(url, database, size, show)
                results["commits"] = memory.commits(url, database, size, show)
        if "durable" in parts:
            with _database() as database:
                results["durable"] = durable(url, database, size, show)
        if "retention" in parts:
            with _database() as database:
                rows, rotations = (200_000, 2) if size is QUICK else (12_000_000, 3)
                results["retention"] = asyncio.run(retention(database, rows, rotations, show))
        if "search" in parts:
            with _database() as database:
                rows = 500_000 if size is QUICK else 30_000_000
                results["search"] = {"rows": rows, "pages": asyncio.run(search(database, rows, show))}
        if "console" in parts:
            with _database() as database:
                rows, waiting = (1_000_000, 100_000) if size is QUICK else (10_000_000, 1_000_000)
                results["console"] = asyncio.run(console(url, database, rows, waiting, show))
        if "peers" in parts:
            results["peers"], results["peers failed"] = throughput.peers(url, size, show)
    return results


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _capacity(results: dict[str, Any]) -> float:
    """Jobs a second of which the loads of latency are parts: what stock SAQ enqueues, runs and waits for at most."""
    return report.capacity(results)


if __name__ == "__main__":
    main()
