"""The store behind a PgBouncer that pools transactions, a real one."""

import os
import pwd
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from dishka import AsyncContainer
from sqlalchemy import select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.db.session import make_engine, make_sessionmaker
from app.settings import Settings, load_settings
from saqueduct import INJECTED, Context, Queues, get_registry, task
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.partition_layout import read
from saqueduct.postgres.partitions import AHEAD, Partitions
from saqueduct.postgres.retention import Retention
from saqueduct.postgres.store import PostgresStore
from tests.fixtures.composition import build_container, build_queues
from tests.fixtures.directories import scratch_directory
from tests.fixtures.poll import eventually_sync
from tests.fixtures.ports import free_port
from tests.postgres.store.conftest import Look, nothing_published, record_of
from tests.queue.kit import working

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@pytest.fixture
def bouncer(migrated_url: str) -> Iterator[str]:
    """URL of a PgBouncer with two connections to the database, so that transactions follow one another on them."""
    if PROGRAM is None:
        if os.environ.get("CI"):
            pytest.fail("pgbouncer is missing; .ci/run installs it")
        pytest.skip("no pgbouncer on this machine")
    with scratch_directory() as directory:
        # PgBouncer does not run as root; as PostgreSQL's own user it reaches its socket.
        directory.chmod(0o777)
        yield from _serving(PROGRAM, make_url(migrated_url), directory)


def _serving(program: str, url: URL, directory: Path) -> Iterator[str]:
    port, host = free_port(), str(url.query.get("host", url.host))
    (directory / "pgbouncer.ini").write_text(
        f"[databases]\ndb = host={host} port={url.query.get('port', url.port or 5432)} dbname={url.database} "
        f"user={url.username}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =\n"
        f"pool_mode = transaction\ndefault_pool_size = 2\n"
    )
    owner = pwd.getpwuid(Path(host).stat().st_uid).pw_name if host.startswith("/") else "nobody"
    user = ["-u", owner] if os.geteuid() == 0 else []
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, *user, str(directory / "pgbouncer.ini")], stdout=output, stderr=output)
    try:
        eventually_sync(lambda: "listening" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield f"postgresql://{url.username}@127.0.0.1:{port}/db"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def behind(environment: dict[str, str], bouncer: str) -> Settings:
    return load_settings(environment | {"DATABASE_URL": bouncer, "DATABASE_PGBOUNCER": "on"})


@pytest.fixture
async def stack(behind: Settings) -> AsyncIterator[tuple[Queues, AsyncContainer, AsyncSession]]:
    queues = build_queues(behind)
    container = build_container(behind, queues)
    engine: AsyncEngine = make_engine(behind)
    await queues.connect()
    async with make_sessionmaker(engine)() as session:
        yield queues, container, session
    await engine.dispose()
    await container.close()
    await queues.disconnect()


with get_registry().isolated():

    @task(durable=True)
    async def count_records(ctx: Context, *, number: int, db_session: AsyncSession = INJECTED) -> int:
        await db_session.scalars(select(JobRecord.key))
        return number


async def test_transactions_durable_jobs_and_records_work_behind_it(
    behind: Settings, stack: tuple[Queues, AsyncContainer, AsyncSession], records: Look, outbox: Look
) -> None:
    get_registry().add(count_records)
    queues, container, session = stack
    assert isinstance(queues.store, PostgresStore)
    async with working(behind, queues, container, schedules=False):
        handles = [await count_records.within(session).enqueue(number=number) for number in range(20)]
        await session.commit()
        handles += [await count_records.enqueue(number=number) for number in range(20, 40)]
        assert [await handle.result(timeout=60) for handle in handles] == list(range(40))
        await record_of(records, handles[-1].key, "complete")
    assert list(await outbox()) == []


async def test_the_relay_finds_what_was_left_without_hearing_of_it(
    stack: tuple[Queues, AsyncContainer, AsyncSession], outbox: Look
) -> None:
    get_registry().add(count_records)
    queues, _, session = stack
    assert isinstance(queues.store, PostgresStore)
    async with nothing_published():
        await count_records.within(session).enqueue(number=1)
        await session.commit()
    assert await queues.store.relay.look(list(queues), grace=0.0) == 1
    assert await queues.get("default").count("queued") == 1


async def test_partitions_are_looked_after_behind_it(behind: Settings, migrated_url: str) -> None:
    engine = make_engine(behind)
    try:
        # All days before today are old.
        await Partitions(engine, Retention(complete=0), pgbouncer=True).maintain()
        async with engine.begin() as connection:
            found = await read(connection, None)
    finally:
        await engine.dispose()
    assert found.partitions[-1].start is not None
    assert found.partitions[-1].start >= found.now + AHEAD
    assert all(each.kept for each in found.partitions if each.end is not None and each.end < found.now)
