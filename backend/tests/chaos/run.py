"""A chaos run: jobs are enqueued while workers, Redis and the network between them are hurt; then the oracle judges."""

import asyncio
import dataclasses
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import redis
from saq.job import Job

from app.dev.redis import EmbeddedRedis
from app.queue import EngineQueue, QueueUnavailable, TaskRegistry
from app.queue.engine.connections import Connections
from app.queue.options import Priority
from app.queue.registry import get_registry
from tests.chaos.fleet import Fleet
from tests.chaos.oracle import SPENT, TERMINAL, Verdict, judge, read
from tests.chaos.proxy import Network

FAULTS = ("kill", "pause worker", "terminate", "restart redis", "pause redis", "cut connections", "slow network")

PAST_THE_LEASE = (9.0, 13.0)
REDIS_AWAY = (1.0, 3.0)
"""Seconds, at least and at most."""

LEVELS: tuple[Priority, ...] = ("high", "normal", "normal", "low")

SLOW = 0.05
"""Seconds that a slow network takes each way, and up to as much again."""

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does.

    Attributes:
        seed: of its chances: which jobs, which faults, which workers.
        jobs: how many are enqueued.
        faults: which, in order; each is over before the next.
        rate: jobs enqueued a second.
        workers: processes.
        concurrency: slots of each.
        patience: seconds that the jobs get to end after the last fault.
    """

    seed: int
    jobs: int
    faults: tuple[str, ...]
    rate: float
    workers: int = 3
    concurrency: int = 20
    patience: float = 90.0

    @classmethod
    def of(cls, seed: int, jobs: int, kills: int, others: int, rate: float) -> "Plan":
        """A plan of so many kills, and so many of each other fault, in an order that the seed decides."""
        faults = ["kill"] * kills + [each for each in FAULTS if each != "kill"] * others
        random.Random(seed).shuffle(faults)  # noqa: S311  (a run is to be repeated)
        return cls(seed=seed, jobs=jobs, faults=tuple(faults), rate=rate)


class Watcher:
    """Counts the ends of jobs as Redis announces them, in the step that writes them."""

    def __init__(self, url: str) -> None:
        self.ends: Counter[str] = Counter()
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="watcher", daemon=True)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._stop.is_set():
            # Redis is away now and then; what it announces meanwhile nobody hears.
            with suppress(redis.RedisError, OSError), redis.Redis.from_url(self._url) as client:
                channels = client.pubsub()
                channels.psubscribe("saq:job:default:*")
                while not self._stop.is_set():
                    message: Any = channels.get_message(timeout=0.2)
                    if message and message["type"] == "pmessage" and message["data"].decode() in TERMINAL:
                        self.ends[message["channel"].decode().removeprefix("saq:job:default:")] += 1


class Producer:
    """Enqueues jobs, and remembers which were acknowledged.

    Args:
        queue: connected to the running event loop.
        plan: of the run.
    """

    def __init__(self, queue: EngineQueue, plan: Plan) -> None:
        self._queue = queue
        self._plan = plan
        self._chance = random.Random(plan.seed)  # noqa: S311
        self.acknowledged: set[str] = set()
        self.attempts_due: dict[str, int] = {}
        self.refused = 0

    async def run(self) -> None:
        """Enqueue the plan's jobs at its rate, some one by one and most in batches."""
        made = 0
        while made < self._plan.jobs:
            size = min(self._chance.choice((1, 5, 20, 100)), self._plan.jobs - made)
            jobs = [self._job(number) for number in range(made, made + size)]
            made += size
            await self._enqueue(jobs)
            await asyncio.sleep(size / self._plan.rate)

    async def _enqueue(self, jobs: list[Job]) -> None:
        try:
            answers = await self._queue.enqueue_many(jobs)
        except QueueUnavailable:
            # They may or may not stand; nobody was told that they do.
            self.refused += len(jobs)
            await asyncio.sleep(0.2)
        else:
            self.acknowledged.update(answer.key for answer in answers if answer.created)

    def _job(self, number: int) -> Job:
        tasks: TaskRegistry = get_registry()
        seconds = round(self._chance.choice((0.0, 0.01, 0.1, 0.5)), 2)
        kind = self._chance.random()
        if kind < 0.1:
            failures = self._chance.randrange(1, 4)
            job = tasks.get("flaky").job({"seconds": seconds, "failures": failures})
            self.attempts_due[job.key] = failures + 1
        elif kind < 0.2:
            job = tasks.get("single").job({"number": number % 50, "seconds": seconds})
        elif kind < 0.35:
            job = tasks.get("work").options(delay=round(self._chance.uniform(0.1, 10), 2)).job({"seconds": seconds})
        else:
            level: Priority = self._chance.choice(LEVELS)
            job = tasks.get("work").options(priority=level).job({"seconds": seconds})
        return job


async def run(plan: Plan, report: Report = print) -> tuple[Verdict, dict[str, Any]]:
    """Carry out a plan; returns the verdict, and what else is worth telling."""
    with tempfile.TemporaryDirectory(prefix="saqueduct-chaos-") as name:
        directory = Path(name)
        server = EmbeddedRedis(directory / "redis")
        server.start()
        try:
            return await _hurt(plan, server, directory, report)
        finally:
            server.stop()


async def _hurt(plan: Plan, server: EmbeddedRedis, directory: Path, report: Report) -> tuple[Verdict, dict[str, Any]]:
    with Network(str(server.socket)) as network, Watcher(server.url) as watcher:
        url = f"redis://127.0.0.1:{network.port}"
        journal = directory / "journal"
        fleet = Fleet(plan.workers, _environment(plan, url, journal), directory, random.Random(plan.seed))  # noqa: S311
        queue = EngineQueue(Connections(url).client("default"), "default", tasks=get_registry())
        try:
            await asyncio.to_thread(fleet.wait)
            producer = Producer(queue, plan)
            begun = time.monotonic()
            producing = asyncio.create_task(producer.run())
            await _inflict(plan, server, network, fleet, report)
            report("all faults are over")
            await producing
            statuses, errors = await _settled(server.url, producer.acknowledged, plan.patience)
        finally:
            await queue.disconnect()
            fleet.close()
        lines = read(journal)
        verdict = judge(lines, statuses, watcher.ends, fleet.killed, producer.attempts_due)
    others = {
        "seconds": round(time.monotonic() - begun),
        "refused": producer.refused,
        "announced ends": sum(watcher.ends.values()),
        "skewed clocks": fleet.skewed,
        "errors": dict(errors),
    }
    return verdict, others


async def _inflict(plan: Plan, server: EmbeddedRedis, network: Network, fleet: Fleet, report: Report) -> None:
    chance = random.Random(plan.seed + 1)  # noqa: S311
    for number, fault in enumerate(plan.faults, 1):
        await asyncio.sleep(chance.uniform(0.2, 2.0))
        report(f"{number}/{len(plan.faults)} {fault}")
        if fault == "kill":
            await asyncio.to_thread(fleet.kill)
        elif fault == "terminate":
            await asyncio.to_thread(fleet.terminate)
        elif fault == "pause worker":
            await asyncio.to_thread(fleet.pause, chance.uniform(*PAST_THE_LEASE))
        elif fault == "restart redis":
            await asyncio.to_thread(_restart, server)
        elif fault == "pause redis":
            await asyncio.to_thread(_pause, server, chance.uniform(*REDIS_AWAY))
        elif fault == "cut connections":
            network.cut()
        else:
            network.delay = SLOW
            await asyncio.sleep(chance.uniform(2.0, 5.0))
            network.delay = 0.0


def _restart(server: EmbeddedRedis) -> None:
    server.stop()
    server.start()


def _pause(server: EmbeddedRedis, seconds: float) -> None:
    with redis.Redis.from_url(server.url) as client:
        process = psutil.Process(client.info("server")["process_id"])
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        process.send_signal(signal.SIGCONT)


async def _settled(url: str, keys: set[str], patience: float) -> tuple[dict[str, str], Counter[str]]:
    """The status of each job, once all have ended or patience has; and the last lines of errors."""
    queue = EngineQueue(Connections(url).client("default"), "default")
    deadline = time.monotonic() + patience
    left, statuses = sorted(keys), dict.fromkeys(keys, "")
    errors: Counter[str] = Counter()
    while left:
        for first in range(0, len(left), 500):
            chunk = left[first : first + 500]
            found = await queue.jobs(chunk)
            statuses.update((key, _status(job)) for key, job in zip(chunk, found, strict=True))
            failed = [job for job in found if job and _status(job) in TERMINAL - {"complete"}]
            errors.update((job.error or "").strip().rpartition("\n")[2] for job in failed)
        left = [key for key in left if statuses[key] not in TERMINAL]
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    await queue.disconnect()
    return statuses, errors


def _status(job: Job | None) -> str:
    if job is None:
        return ""
    return SPENT if (job.error or "").startswith("its worker died") else job.status.value


def _environment(plan: Plan, url: str, journal: Path) -> dict[str, str]:
    return {
        "REDIS_URL": url,
        # No task of a run asks PostgreSQL.
        "DATABASE_URL": "postgresql://localhost/none",
        "SECRET_KEY": "chaos only, no secret, but long enough",
        "WORKER_CONCURRENCY": str(plan.concurrency),
        "WORKER_GRACE_PERIOD": "3",
        "LOG_LEVEL": "INFO",
        "CHAOS_JOURNAL": str(journal),
        "HOME": os.environ.get("HOME", "/"),
    }
