"""Throughput and latency: what contenders do in the same run, one after the other, again and again."""

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import redis

from benchmarks.contenders import PEERS, SAQUEDUCT, STOCK, Contender, Failed, figures_of

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    runs: int
    jobs: int
    peer_jobs: int
    latency_jobs: int


def throughput(url: str, size: Size, progress: Progress) -> dict[str, dict[str, list[float]]]:
    """Jobs a second by measurement and contender, one figure a run."""
    measured: dict[str, dict[str, list[float]]] = {}
    for _ in range(size.runs):
        for name, contender, measure in _cases(url, size):
            progress(f"{name}: {contender.label}")
            empty(url)
            measured.setdefault(name, {}).setdefault(contender.label, []).append(measure())
    return measured


SLOTS = {
    STOCK.name: {("noop", 1): (10, 32, 100), ("noop", 2): (32,), ("sleep", 1): (100,), ("sleep", 2): (100,)},
    SAQUEDUCT.name: {("noop", 1): (32, 100, 300), ("noop", 2): (32, 100), ("sleep", 1): (100,), ("sleep", 2): (100,)},
}
"""What is measured: by kind of job and worker processes, with how many slots each."""


PROCESSED = {
    (STOCK.name, "noop"): 1,
    (STOCK.name, "sleep"): 1,
    (SAQUEDUCT.name, "noop"): 9,
    (SAQUEDUCT.name, "sleep"): 3,
}
"""Thirds of `Size.jobs` that a run processes, so that it takes some seconds with either."""


def _cases(url: str, size: Size) -> list[tuple[str, Contender, Callable[[], float]]]:
    cases: list[tuple[str, Contender, Callable[[], float]]] = []
    for contender in (STOCK, SAQUEDUCT):
        cases += [
            (measure, contender, partial(_rate, contender, measure, url, size.jobs))
            for measure in ("enqueue", "enqueue many")
        ]
        for (kind, processes), all_slots in SLOTS[contender.name].items():
            jobs = size.jobs * PROCESSED[contender.name, kind] // 3
            for slots in all_slots:
                name = f"process {kind}, {processes} worker{'s' * (processes > 1)}, {slots} slots"
                cases.append((name, contender, partial(_work, contender, url, kind, processes, slots, jobs)))
    return cases


def _rate(contender: Contender, measure: str, url: str, count: int) -> float:
    return float(contender.ask(measure, url, count)["jobs_per_second"])


def _work(contender: Contender, url: str, kind: str, processes: int, slots: int, jobs: int) -> float:
    """Jobs a second of so many workers, from the first job's start to the last's."""
    contender.ask("fill", url, jobs, kind=kind)
    workers = [contender.start("work", url, jobs, concurrency=slots) for _ in range(processes)]
    figures = [each for each in map(figures_of, workers) if each["count"]]
    took = max(each["last"] for each in figures) - min(each["first"] for each in figures)
    return float(sum(each["count"] for each in figures) / took)


def peers(url: str, size: Size, progress: Progress) -> tuple[dict[str, dict[str, list[float]]], dict[str, str]]:
    """Jobs a second by measurement and peer, and why a peer has none."""
    measured: dict[str, dict[str, list[float]]] = {}
    failed: dict[str, str] = {}
    for _ in range(size.runs):
        for contender in PEERS:
            for measure in ("enqueue", "process"):
                if contender.label in failed:
                    continue
                progress(f"{measure}: {contender.label}")
                empty(url)
                try:
                    rate = _rate(contender, measure, url, size.peer_jobs)
                except Failed as error:
                    # What pip says names addresses, which are not for the page.
                    sys.stderr.write(f"{contender.label}: {error}\n")
                    failed[contender.label] = "could not be measured"
                else:
                    measured.setdefault(measure, {}).setdefault(contender.label, []).append(rate)
    return measured, failed


def latency(url: str, size: Size, capacity: float, progress: Progress) -> dict[str, dict[str, Any]]:
    """Milliseconds from enqueue to start and to result, at parts of stock SAQ's capacity in jobs a second.

    The producer waits for each result, so that it is a part of the load: both have the same rates.
    """
    found: dict[str, dict[str, Any]] = {}
    for load in (0.1, 0.5, 0.9):
        for contender in (STOCK, SAQUEDUCT):
            gathered: dict[str, list[list[float]]] = {"starts": [], "results": []}
            missed = 0
            for _ in range(size.runs):
                progress(f"latency at {load:.0%}: {contender.label}")
                empty(url)
                with contender.serving(url, concurrency=32):
                    contender.ask("latency", url, 50, rate=50)
                    figures = contender.ask("latency", url, size.latency_jobs, rate=capacity * load)
                for each in gathered:
                    gathered[each].append(percentiles(figures[each]))
                missed += figures["missed"]
            medians = {
                each: [statistics.median(run) for run in zip(*runs, strict=True)] for each, runs in gathered.items()
            }
            found.setdefault(f"{load:.0%}", {})[contender.label] = {**medians, "missed": missed}
    return found


PERCENTILES = (50.0, 95.0, 99.0, 99.9)


def percentiles(seconds: Sequence[float]) -> list[float]:
    """The PERCENTILES in milliseconds."""
    ordered = sorted(seconds)
    return [round(ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))] * 1000, 2) for p in PERCENTILES]


def empty(url: str) -> None:
    """Remove all from Redis, which takes longer than a client waits by itself where there were a million jobs."""
    with redis.Redis.from_url(url, socket_timeout=60) as client:
        client.flushall()
