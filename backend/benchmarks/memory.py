"""What PostgreSQL costs: throughput with job records, and the way from a commit to a job's start."""

import statistics
from typing import Any

import redis

from benchmarks.contenders import SAQUEDUCT, figures_of
from benchmarks.throughput import Progress, Size, percentiles

SLOTS = (32, 100)

RUN = 3
"""Multiples of `Size.jobs` in a run: some seconds, as in the part `throughput`."""


def records(url: str, database: str, size: Size, progress: Progress) -> dict[str, dict[str, list[float]]]:
    """Jobs a second by slots, with records off and on, in turns; with them, until the last one is written."""
    rates: dict[str, dict[str, list[float]]] = {}
    for _ in range(size.runs):
        for slots in SLOTS:
            for switch in ("off", "on"):
                progress(f"records {switch}, {slots} slots")
                with redis.Redis.from_url(url) as client:
                    client.flushall()
                jobs = size.jobs * RUN
                SAQUEDUCT.ask("fill", url, jobs, kind="noop")
                worker = SAQUEDUCT.start("work", url, jobs, concurrency=slots, records=switch, database=database)
                figures = figures_of(worker)
                rate = figures["count"] / (figures["last"] - figures["first"])
                rates.setdefault(f"{slots} slots", {}).setdefault(switch, []).append(rate)
    return rates


def commits(url: str, database: str, size: Size, progress: Progress) -> list[float]:
    """PERCENTILES in milliseconds from the commit of a transaction to the start of its job, medians of the runs."""
    runs: list[list[float]] = []
    for _ in range(size.runs):
        progress("from commit to start")
        with redis.Redis.from_url(url) as client:
            client.flushall()
        options: dict[str, Any] = {"concurrency": 32, "records": "on", "database": database}
        with SAQUEDUCT.serving(url, **options):
            runs.append(percentiles(SAQUEDUCT.ask("commits", url, size.latency_jobs // 2, **options)["starts"]))
    return [statistics.median(run) for run in zip(*runs, strict=True)]
