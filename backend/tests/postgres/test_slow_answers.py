"""What a page leaves out where it would take too long, while PostgreSQL is slow: here a lock holds up the tables."""

import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from saqueduct.postgres.engine import make_engine
from saqueduct.postgres.history import JobHistory
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.postgres.task_runs import TaskRuns
from saqueduct.postgres.time_series import TimeSeries
from saqueduct.postgres.time_steps import Span
from saqueduct.timings import PostgresTimings

LOCK = "LOCK TABLE job_records IN ACCESS EXCLUSIVE MODE"
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
async def engine(migrated_url: str) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(migrated_url, pool_size=2, connect_timeout=20)
    yield engine
    await engine.dispose()


@pytest.mark.parametrize("search", ["counts", "children"])
async def test_a_search_that_takes_too_long_leaves_the_transaction_usable(engine: AsyncEngine, search: str) -> None:
    async with engine.begin() as other:
        await other.execute(text(LOCK))
        async with AsyncSession(engine) as session, session.begin():
            jobs = JobHistory(session, timings=PostgresTimings(count=0.02))
            if search == "counts":
                assert await jobs.counts([RecordFilter()], ["complete"], 10) is None
            else:
                assert await jobs.children("key", NOW - dt.timedelta(days=1), NOW, 10) is None
            assert await session.scalar(text("SELECT 1")) == 1


async def test_all_searches_for_runs_of_a_task_share_one_limit(engine: AsyncEngine) -> None:
    since = NOW - dt.timedelta(days=1)
    async with AsyncSession(engine) as session, session.begin():
        runs = TaskRuns(session, "echo", patience=0.02, searched=100)
        async with engine.begin() as other:
            await other.execute(text(LOCK))
            assert await runs.read(since, NOW, 5) is None
        assert await runs.read(since, NOW, 5) is None


async def test_the_history_is_read_by_its_index_and_other_reads_as_before(engine: AsyncEngine) -> None:
    read: list[str] = []

    def note(_: object, cursor: Any, statement: str, *__: object) -> None:
        if "FROM job_history" in statement:
            cursor.execute("SHOW enable_seqscan")
            read.append(cursor.fetchone()[0])

    async with AsyncSession(engine) as session, session.begin():
        history = TimeSeries(session)
        event.listen(engine.sync_engine, "before_cursor_execute", note)
        await history.trend(Span.of(NOW - dt.timedelta(days=7), NOW, 3600))
        event.remove(engine.sync_engine, "before_cursor_execute", note)
        assert await session.scalar(text("SHOW enable_seqscan")) == "on"
    assert read == ["off"]
