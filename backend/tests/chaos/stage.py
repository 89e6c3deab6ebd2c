"""The stage of a chaos run: a Redis and a PostgreSQL of its own, the networks to both, workers, and a producer."""

import asyncio
import dataclasses
import os
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import psutil
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from app.db.session import make_engine
from app.settings import load_settings
from saqueduct.embedded.postgres import DATABASE, SOCKET, EmbeddedPostgres
from saqueduct.embedded.redis import EmbeddedRedis
from saqueduct.testing.servers import NOT_DURABLE
from tests.chaos.announcements import Announcements
from tests.chaos.fleet import Fleet
from tests.chaos.journal import JOURNAL
from tests.chaos.ledger import make_tables
from tests.chaos.plans import Plan
from tests.chaos.proxy import Network
from tests.chaos.workload import Workload
from tests.fixtures import python
from tests.fixtures.clusters import add_cluster
from tests.fixtures.composition import build_queues
from tests.fixtures.directories import scratch_directory
from tests.processes.stack import BACKEND

GRACE = 3
"""Seconds that running jobs get after SIGTERM."""

FORGOTTEN = 2
"""Seconds after which a durable job is looked for in Redis."""


@dataclasses.dataclass(slots=True)
class Stage:
    """What faults can hurt, and what the oracle asks.

    Attributes:
        redis, postgres: the servers.
        to_redis, to_postgres: the networks through which workers and producers reach them.
        environment: of all processes; its servers are those behind the networks.
        engine: connections to PostgreSQL past its network.
        fleet: the workers.
        workload: the jobs, as far as this process enqueues them.
        announcements: the ends of jobs.
        journal: path of the journal.
        chance: for what the faults leave to it.
        first: number that the next transacting producer begins with.
        producers_failed: errors of those that ended before they were killed.
    """

    redis: EmbeddedRedis
    postgres: EmbeddedPostgres
    to_redis: Network
    to_postgres: Network
    environment: dict[str, str]
    engine: AsyncEngine
    fleet: Fleet
    workload: Workload
    announcements: Announcements
    journal: Path
    chance: random.Random
    first: int = 10_000_000
    producers_failed: list[str] = dataclasses.field(default_factory=list)

    def client(self) -> Redis:
        """A client of Redis past its network."""
        return Redis.from_url(self.redis.url)

    def redis_process(self) -> psutil.Process:
        """Redis' process."""
        return psutil.Process(int((self.redis.directory / "redis.pid").read_text()))

    def postgres_processes(self) -> list[psutil.Process]:
        """PostgreSQL's processes."""
        postmaster = psutil.Process(int((self.postgres.data / "postmaster.pid").read_text().split("\n", 1)[0]))
        return [postmaster, *postmaster.children(recursive=True)]


@asynccontextmanager
async def staged(plan: Plan, keep: Path | None = None) -> AsyncIterator[Stage]:
    """Build the stage of a plan, with its workers started, and take it down at the end.

    Args:
        plan: says how many workers.
        keep: where logs and journal are copied to; None: nowhere.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(scratch_directory())
        if keep is not None:
            stack.callback(_copy, directory, keep)
        redis = EmbeddedRedis(directory / "redis")
        add_cluster(directory / "postgres")
        postgres = EmbeddedPostgres(directory / "postgres", NOT_DURABLE)
        stack.callback(redis.stop)
        stack.callback(postgres.stop)
        direct = load_settings({**_secrets(directory), "REDIS_URL": redis.start(), "DATABASE_URL": postgres.start()})
        to_redis = stack.enter_context(Network(str(redis.socket)))
        to_postgres = stack.enter_context(Network(str(postgres.sockets / SOCKET)))
        announcements = stack.enter_context(Announcements(redis.url))
        environment = _environment(plan, directory, to_redis, to_postgres)
        engine = make_engine(direct)
        await _migrate(postgres.url, engine)
        fleet = Fleet(plan.workers, environment, directory, random.Random(plan.seed))  # noqa: S311
        stack.callback(fleet.close)
        fleet.wait()
        queues = build_queues(load_settings(environment))
        await queues.connect()
        try:
            workload = Workload(queues, plan, fleet, redis.url)
            yield Stage(
                redis, postgres, to_redis, to_postgres, environment, engine, fleet, workload, announcements,
                Path(environment[JOURNAL]),
                random.Random(plan.seed + 1),  # noqa: S311
            )  # fmt: skip
        finally:
            await queues.disconnect()
            await engine.dispose()


def _environment(plan: Plan, directory: Path, to_redis: Network, to_postgres: Network) -> dict[str, str]:
    return {
        **_secrets(directory),
        "REDIS_URL": f"redis://127.0.0.1:{to_redis.port}",
        "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{to_postgres.port}/{DATABASE}",
        "WORKER_CONCURRENCY": str(plan.slots),
        "WORKER_GRACE_PERIOD": str(GRACE),
        "QUEUE_FORGOTTEN_AFTER": str(FORGOTTEN),
        JOURNAL: str(directory / "journal"),
        "HOME": os.environ.get("HOME", "/"),
    }


def _secrets(directory: Path) -> dict[str, str]:
    return {"SECRET_KEY": "chaos only, no secret, but long enough", "DEV_DIR": str(directory)}


async def _migrate(url: str, engine: AsyncEngine) -> None:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": url, "REDIS_URL": "redis://unused"}
    upgrade = await asyncio.to_thread(python.run, ("-m", "app.db.migrate"), cwd=BACKEND, env=environment)
    if upgrade.returncode:
        raise AssertionError(f"the migration failed:\n{upgrade.stderr}")
    async with engine.begin() as connection:
        await make_tables(connection)


def _copy(directory: Path, keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    for path in (*directory.glob("*.log"), *directory.glob("*/*.log"), *directory.glob("journal")):
        shutil.copy(path, keep)
