"""The PostgreSQL of the test kit, in a project without a conftest of its own: outbox, durable jobs and records."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from tests.fixtures import python

BACKEND = Path(__file__).parents[2]

TESTS = """
import pytest
from sqlalchemy import text
from saqueduct import Context, SaqueductConfig, task
from saqueduct.postgres.history import JobHistory
from saqueduct.testing import Drained

@task
async def add(ctx: Context, *, a: int, b: int) -> int:
    return a + b

@task(durable=True)
async def fail(ctx: Context) -> None:
    raise ValueError("no")

@pytest.fixture
def saqueduct_config(saqueduct_redis_url, saqueduct_database_url):
    return SaqueductConfig(redis_url=saqueduct_redis_url, database_url=saqueduct_database_url)

async def statuses(saqueduct):
    await saqueduct.store.recorder.flush(30)
    async with saqueduct.store.sessions() as session:
        return (await session.execute(text("SELECT task, status FROM job_records"))).all()

async def test_a_job_is_enqueued_when_its_transaction_commits(saqueduct, saqueduct_jobs):
    async with saqueduct.store.sessions() as session:
        await add.within(session).enqueue(a=1, b=2)
        saqueduct_jobs.refute_enqueued(add)
        await session.commit()
    saqueduct_jobs.assert_enqueued(add, a=1, b=2)

async def test_a_job_is_gone_when_its_transaction_rolls_back(saqueduct, saqueduct_jobs):
    async with saqueduct.store.sessions() as session:
        await add.within(session).enqueue(a=1, b=2)
        await session.rollback()
    saqueduct_jobs.refute_enqueued()

async def test_a_job_leaves_a_record(saqueduct, saqueduct_jobs):
    job = await saqueduct_jobs.run(add, a=1, b=2)
    await saqueduct.store.recorder.flush(30)
    async with saqueduct.store.sessions() as session:
        record = await JobHistory(session).latest(job.key)
    assert (record.status, record.result) == ("complete", 3)

async def test_a_durable_job_that_fails_is_a_dead_letter(saqueduct, saqueduct_jobs):
    await fail.enqueue()
    assert await saqueduct_jobs.drain() == Drained(failed=1)
    assert await statuses(saqueduct) == [("fail", "failed")]

async def test_the_tasks_that_come_with_postgresql_run(saqueduct, saqueduct_jobs):
    await saqueduct.queues.enqueue("replay_dead_letters", {"which": {"task": "fail"}, "by": "ada"})
    assert await saqueduct_jobs.drain() == Drained(complete=1)

async def test_the_tables_are_empty_again(saqueduct):
    assert await statuses(saqueduct) == []

def test_without_an_event_loop(saqueduct_jobs):
    saqueduct_jobs.refute_enqueued()
"""

ALL_PASSED = f"{TESTS.count('def test_')} passed"

SLOW_RECORDS = """
import asyncio
import pytest
from saqueduct.postgres.recorder import JobRecorder

@pytest.fixture(autouse=True)
def slow_postgresql(monkeypatch):
    write = JobRecorder._write

    async def late(self, batch):
        await asyncio.sleep(0.3)
        await write(self, batch)

    monkeypatch.setattr(JobRecorder, "_write", late)
"""
"""A conftest: jobs have ended long before their records are written."""

OPTIONS = (
    "-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "saqueduct.testing.plugin",
    # The server that forks the process has imported anyio.
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip


@pytest.fixture
async def empty_database_url(database_url: str) -> AsyncIterator[str]:
    """The URL of a database without tables."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE DATABASE of_a_project")
    yield make_url(database_url).set(database="of_a_project").render_as_string(hide_password=False)
    await connection.execute("DROP DATABASE of_a_project WITH (FORCE)")
    await connection.close()


def test_a_project_tests_what_needs_postgresql(tmp_path: Path, redis_url: str, empty_database_url: str) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    (tmp_path / "conftest.py").write_text(SLOW_RECORDS)
    (tmp_path / "test_project.py").write_text(TESTS)
    given = {"TEST_REDIS_URL": redis_url, "TEST_DATABASE_URL": empty_database_url, "PYTHONPATH": str(BACKEND)}
    done = python.run(["-m", "pytest", *OPTIONS], cwd=tmp_path, env={**os.environ, **given}, timeout=300)
    assert ALL_PASSED in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
