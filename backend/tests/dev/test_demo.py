"""`make demo`: the day that it fills in, on real servers, and where it refuses."""

import datetime as dt
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.dev.cli import services_of
from app.dev.demo import filling, present
from app.dev.demo.past import TAG, numbers_of
from app.dev.demo.running import NotRunningError, require_running
from app.queue.config import build_config
from app.settings import Settings, load_settings
from saqueduct import Saqueduct
from saqueduct.postgres.history import JobHistory
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.postgres.time_series import TimeSeries
from saqueduct.postgres.time_steps import Span

HOURS = 3
SEED = 7


@pytest.fixture
async def saqueduct(settings: Settings, engine: AsyncEngine, empty_redis: None) -> AsyncIterator[Saqueduct]:
    """The application on empty servers; what the test has filled in is gone afterwards."""
    async with Saqueduct(build_config(settings)) as saqueduct:
        yield saqueduct
        await filling.remove(saqueduct)


async def test_records_and_charts_have_the_jobs_of_the_last_hours(saqueduct: Saqueduct, engine: AsyncEngine) -> None:
    filled = await filling.fill(saqueduct, SEED, HOURS)
    statuses = Counter(await column(engine, "SELECT status FROM job_records"))
    assert statuses.total() == filled.records > 100
    assert statuses["failed"] == filled.failed
    assert statuses["complete"] > statuses["failed"]
    assert await column(engine, "SELECT count(*) FROM job_records WHERE schedule = 'ping'") == [HOURS * 60 - 1]
    ended = await ended_in(saqueduct, dt.timedelta(hours=HOURS + 1))
    assert ended == filled.records
    assert await ended_in(saqueduct, dt.timedelta(days=6)) > ended


async def test_dead_letters_are_listed(saqueduct: Saqueduct) -> None:
    filled = await filling.fill(saqueduct, SEED, 12)
    assert saqueduct.store is not None
    async with saqueduct.store.sessions() as session:
        page = await JobHistory(session).dead_letters(RecordFilter(tag=TAG), limit=500)
    assert len(page.records) == filled.failed > 0
    assert all(record.error and record.errors and record.arguments for record in page.records)


async def test_a_second_run_replaces_the_first(saqueduct: Saqueduct, engine: AsyncEngine) -> None:
    await filling.fill(saqueduct, SEED, HOURS)
    again = await filling.fill(saqueduct, SEED, HOURS)
    assert await column(engine, "SELECT count(*) FROM job_records") == [again.records]
    assert await ended_in(saqueduct, dt.timedelta(hours=HOURS + 1)) == again.records


async def test_the_audit_says_who_has_aborted_jobs_until_it_is_taken_away(
    saqueduct: Saqueduct, engine: AsyncEngine
) -> None:
    await filling.fill(saqueduct, SEED, 12)
    aborted = await column(engine, "SELECT key FROM job_records WHERE status = 'aborted'")
    entries = await column(engine, "SELECT targets[1] FROM job_audit WHERE action = 'abort' AND at < now()")
    assert 0 < len(entries) == len(set(entries)) <= filling.ABORTED
    assert set(entries) <= set(aborted)
    await filling.remove(saqueduct)
    assert await column(engine, "SELECT count(*) FROM job_audit") == [0]


async def test_remove_leaves_other_jobs_alone(saqueduct: Saqueduct, engine: AsyncEngine) -> None:
    await run_sql(
        engine,
        "INSERT INTO job_records (queued_at, key, queue, task, status, attempts) "
        "VALUES (now(), 'demo-of-mine', 'default', 'my_task', 'complete', 1)",
    )
    assert saqueduct.store is not None
    mine = numbers_of([row._replace(key="mine") for row in filling.rows_of(saqueduct, SEED, 1)][:1])
    await saqueduct.store.add_history(mine)
    before = await column(engine, "SELECT array[step, enqueued, complete] FROM job_history ORDER BY step, at, task")
    filled = await filling.fill(saqueduct, SEED, HOURS)
    assert await filling.remove(saqueduct) == filled
    assert await column(engine, "SELECT key FROM job_records") == ["demo-of-mine"]
    after = await column(engine, "SELECT array[step, enqueued, complete] FROM job_history ORDER BY step, at, task")
    assert after == before
    assert await filling.remove(saqueduct) == (0, 0, 0)


async def test_present_jobs_are_enqueued_once_while_they_wait(saqueduct: Saqueduct) -> None:
    first = await present.enqueue(saqueduct)
    second = await present.enqueue(saqueduct)
    [queue] = saqueduct.queues
    assert (first, second) == (await queue.count("incomplete"), 0)
    assert await queue.count("queued") < first  # the others are delayed


async def test_remove_takes_away_jobs_that_wait_and_what_others_have_enqueued(
    settings: Settings, engine: AsyncEngine, empty_redis: None
) -> None:
    saqueduct = Saqueduct(build_config(settings))
    async with saqueduct:
        await present.enqueue(saqueduct)
        triggered = len(present.RUN_NOW)
        [queue] = saqueduct.queues
        assert await present.abort(saqueduct) == 142
        assert await queue.count("incomplete") == triggered
    assert len(await column(engine, "SELECT key FROM job_records")) == 142
    await run_sql(
        engine,
        "INSERT INTO job_records (queued_at, key, queue, task, status, attempts, parent) "
        "VALUES (now(), 'demo-parent-001:follow-up', 'default', 'my_task', 'complete', 1, 'demo-parent-001')",
    )
    async with saqueduct:
        assert (await filling.remove(saqueduct)).records == 143
        assert await present.abort(saqueduct) == 0


def test_a_seed_and_a_time_make_the_same_day(settings: Settings) -> None:
    saqueduct = Saqueduct(build_config(settings))
    one, two, other = (filling.rows_of(saqueduct, seed, 1, until=1_790_000_000 // 60 * 60) for seed in (1, 1, 2))
    assert one == two != other


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port on which nothing answers, and that nobody else can take."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_without_a_running_make_dev_it_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dead_port: int) -> None:
    from app.dev.cli import main

    monkeypatch.setenv("DEV_DIR", str(tmp_path))
    monkeypatch.setenv("WEB_PORT", str(dead_port))
    refused = CliRunner().invoke(main, ["demo"]).exception
    assert isinstance(refused, NotRunningError)
    assert f"answers at http://127.0.0.1:{dead_port}: start `make dev`" in str(refused)


def test_a_command_that_is_no_web_process_is_no_make_dev(environment: dict[str, str], dead_port: int) -> None:
    settings = load_settings({**environment, "WEB_PORT": str(dead_port)})
    services = services_of(settings)
    services.start()
    try:
        with pytest.raises(NotRunningError, match="start `make dev` in another terminal first"):
            require_running(settings, services)
    finally:
        services.release()


def test_in_production_it_refuses(environment: dict[str, str]) -> None:
    settings = load_settings({**environment, **PRODUCTION})
    with pytest.raises(NotRunningError, match="ENVIRONMENT is production"):
        require_running(settings, services_of(settings))


PRODUCTION = {
    "ENVIRONMENT": "production",
    "ADMIN_PASSWORD": "correct horse battery staple",
    "SMTP_HOST": "mail.example.com",
    "WEB_ALLOWED_HOSTS": "example.com",
    "SECRET_KEY": "0123456789abcdef" * 4,
}


async def ended_in(saqueduct: Saqueduct, time: dt.timedelta) -> int:
    """How many jobs the charts show."""
    assert saqueduct.store is not None
    span = Span.of(dt.datetime.now(dt.UTC) - time, None)
    async with saqueduct.store.sessions() as session:
        return sum((await TimeSeries(session).trend(span)).ended)


async def column(engine: AsyncEngine, query: str) -> list[object]:
    async with engine.connect() as connection:
        return list((await connection.execute(text(query))).scalars().all())


async def run_sql(engine: AsyncEngine, statement: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement))
