"""Memory runs: producers die around their commits, Redis loses all it knows, PostgreSQL tells what became of jobs."""

import asyncio
import dataclasses
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import psutil
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.db.session import make_engine
from app.dev.redis import EmbeddedRedis
from app.queue import Queues, QueueUnavailable, enqueue_many
from app.queue.config import build_queues
from app.settings import Settings, load_settings
from tests.chaos.ledger import durable_entry, durable_with_session, make_tables
from tests.chaos.producer import INSTANTS
from tests.fixtures.poll import eventually
from tests.processes.stack import BACKEND, process

WORKER = ("-m", "tests.chaos.ledger")
APART = 1000
"""Numbers that each producer has to itself."""

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Outbox:
    """What became of the jobs of transactions.

    Attributes:
        kills: of producers, at the instants of INSTANTS in turn.
        committed: transactions that committed, each with a job.
        lost: committed jobs that did not run.
        twice: jobs that ran more than once.
        phantoms: jobs that ran although their transaction did not commit.
        left: rows of the outbox at the end.
    """

    kills: int
    committed: int
    lost: int
    twice: int
    phantoms: int
    left: int

    @property
    def faults(self) -> list[str]:
        return [name for name in ("lost", "twice", "phantoms", "left") if getattr(self, name)]


@dataclasses.dataclass(frozen=True, slots=True)
class Durable:
    """What became of durable jobs while Redis lost all it knew.

    Attributes:
        jobs: durable jobs enqueued.
        wipes: times that Redis lost everything, by FLUSHALL or by a restart without its files.
        lost: jobs without a record of their completion.
        twice: jobs with a session whose work committed more than once, or records beyond one a job.
        bodies_twice: of the jobs without one, bodies that came to their end again (at least once is what is promised).
        left: rows of the outbox at the end.
        seconds: from the last wipe until all had ended.
    """

    jobs: int
    wipes: int
    lost: int
    twice: int
    bodies_twice: int
    left: int
    seconds: float

    @property
    def faults(self) -> list[str]:
        return [name for name in ("lost", "twice", "left") if getattr(self, name)]


async def run_outbox(database_url: str, kills: int, report: Report) -> Outbox:
    """Kill so many producers between their commits and Redis."""
    async with _stage(database_url) as (environment, engine, _, directory):
        with process(WORKER, environment, directory / "worker.log") as worker:
            worker.prints("worker started")
            for kill in range(kills):
                instant = INSTANTS[kill % len(INSTANTS)]
                await _killed(environment, kill * APART, instant)
                if kill % 20 == 19:
                    report(f"{kill + 1} producers killed")
            await _until(engine, "SELECT count(*) = 0 FROM outbox")
            await _until(engine, "SELECT NOT EXISTS (SELECT number FROM ledger EXCEPT SELECT number FROM runs)")
        committed = await _count(engine, "SELECT count(*) FROM ledger")
        lost = await _count(engine, "SELECT count(*) FROM (SELECT number FROM ledger EXCEPT SELECT number FROM runs) x")
        twice = await _count(engine, "SELECT count(*) - count(DISTINCT number) FROM runs")
        phantoms = await _count(
            engine, "SELECT count(*) FROM (SELECT number FROM runs EXCEPT SELECT number FROM ledger) x"
        )
        return Outbox(kills, committed, lost, twice, phantoms, await _count(engine, "SELECT count(*) FROM outbox"))


async def run_durable(database_url: str, jobs: int, wipes: int, seed: int, report: Report, workers: int = 2) -> Durable:
    """Let Redis lose everything so many times while durable jobs are enqueued and run."""
    chance = random.Random(seed)  # noqa: S311  (a run is to be repeated)
    async with _stage(database_url) as (environment, engine, server, directory):
        settings = load_settings(environment)
        queues = build_queues(settings)
        await queues.connect()
        try:
            with ExitStack() as stack:
                for number in range(workers):
                    log = directory / f"worker-{number}.log"
                    stack.enter_context(process(WORKER, environment, log)).prints("worker started")
                producing = asyncio.create_task(_produce(jobs, chance))
                for wipe in range(wipes):
                    await asyncio.sleep(chance.uniform(0.5, 3.0))
                    await _wipe(queues, server, restart=wipe % 2 == 1)
                    report(f"wipe {wipe + 1}")
                last = time.monotonic()
                await producing
                done = f"SELECT count(*) >= {jobs} FROM job_records WHERE status = 'complete'"  # noqa: S608
                await _until(engine, done, 240.0)
                seconds = time.monotonic() - last
                await _until(engine, "SELECT count(*) = 0 FROM outbox")
        finally:
            await queues.disconnect()
        return Durable(
            jobs,
            wipes,
            jobs - await _count(engine, "SELECT count(DISTINCT key) FROM job_records WHERE status = 'complete'"),
            await _count(engine, "SELECT count(*) - count(DISTINCT number) FROM runs")
            + await _count(engine, "SELECT count(*) - count(DISTINCT key) FROM job_records"),
            await _count(engine, "SELECT count(*) - count(DISTINCT number) FROM bodies"),
            await _count(engine, "SELECT count(*) FROM outbox"),
            round(seconds, 1),
        )


async def _produce(jobs: int, chance: random.Random) -> None:
    made = 0
    while made < jobs:
        size = min(chance.choice((1, 10, 100)), jobs - made)
        numbers = range(made, made + size)
        try:
            await enqueue_many(
                (durable_entry, durable_with_session)[number % 2].bind(number=number) for number in numbers
            )
        except QueueUnavailable:
            await asyncio.sleep(0.1)
            continue
        made += size
        await asyncio.sleep(chance.uniform(0.0, 0.05))


async def _wipe(queues: Queues, server: EmbeddedRedis, *, restart: bool) -> None:
    if not restart:
        await queues.get("default").redis.flushall()
        return

    def lose() -> None:
        info = psutil.Process(int((server.directory / "redis.pid").read_text()))
        info.send_signal(signal.SIGKILL)
        info.wait()
        for files in server.directory.glob("*aof*"):
            shutil.rmtree(files) if files.is_dir() else files.unlink()
        for files in server.directory.glob("*.rdb"):
            files.unlink()
        server.start()

    await asyncio.to_thread(lose)


async def _killed(environment: Mapping[str, str], first: int, instant: str) -> None:
    arguments = (sys.executable, "-m", "tests.chaos.producer", str(first), instant)
    producer = await asyncio.create_subprocess_exec(
        *arguments, cwd=BACKEND, env={"PATH": os.environ["PATH"], **environment}, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await producer.communicate()
    if producer.returncode != -signal.SIGKILL:
        raise AssertionError(f"the producer ended by itself: {errors.decode()}")


@asynccontextmanager
async def _stage(database_url: str) -> AsyncIterator[tuple[dict[str, str], AsyncEngine, EmbeddedRedis, Path]]:
    """A Redis of the run's own, empty tables in a migrated database, and the environment of all processes."""
    with tempfile.TemporaryDirectory(prefix="saqueduct-memory-") as directory:
        server = EmbeddedRedis(Path(directory) / "redis")
        environment = {
            "REDIS_URL": server.start(),
            "DATABASE_URL": database_url,
            "DEV_DIR": directory,
            "SECRET_KEY": "tests only, no secret, but long enough",
            "QUEUE_FORGOTTEN_AFTER": "2",
            "WORKER_CONCURRENCY": "20",
        }
        settings: Settings = load_settings(environment)
        engine = make_engine(settings)
        try:
            await make_tables(engine)
            yield environment, engine, server, Path(directory)
        finally:
            await engine.dispose()
            server.stop()


async def _count(engine: AsyncEngine, query: str) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text(query))).scalar_one())


async def _until(engine: AsyncEngine, question: str, within: float = 60.0) -> None:
    """Wait until PostgreSQL says yes, for so many seconds at most: what is missing then is counted."""
    with suppress(AssertionError):
        await eventually(lambda: _count(engine, f"SELECT ({question})::integer"), within)
