"""Overview, queues, workers and schedules."""

import asyncio
import datetime as dt
import re
import time
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from saqueduct.console.cron_words import in_words
from saqueduct.console.sampler import SampledWorker, Sampler, Snapshot
from saqueduct.postgres.models import JobRecord
from saqueduct.schedules.schedule import Schedule
from tests.console.conftest import Served
from tests.fixtures.poll import eventually_sync


def test_the_overview_says_that_nothing_is_wrong(served: Served) -> None:
    eventually_sync(lambda: "Nothing is wrong." in served.page())


def test_a_queue_is_paused_with_a_reason_and_resumed(served: Served) -> None:
    assert "Paused the queue reports" in served.note(
        "/queues/pause", queue="reports", why="stock < taking", back="/console/queues"
    )
    page = served.page("/queues")
    assert "by ada" in page
    assert "stock &lt; taking" in page
    assert "The queue reports is paused by ada: stock &lt; taking." in served.page()
    assert served.note("/queues/resume", queue="reports") == "Resumed the queue reports."
    assert served.note("/queues/resume", queue="reports") == "The queue reports was not paused."


def test_depth_is_shown_by_priority(served: Served) -> None:
    served.note("/queues/pause", queue="reports")
    task = served.saqueduct.registry.get("build_report")

    async def enqueue() -> None:
        for priority in ("high", "high", "low"):
            await served.saqueduct.queues.enqueue(task.options(priority=priority), {"month": "2026-05-01"})

    served.run(enqueue())
    assert served.run(served.saqueduct.queues.get("reports").reader.depths()) == {"high": 2, "normal": 0, "low": 1}
    served.note("/queues/resume", queue="reports")


def test_a_worker_is_shown_with_what_it_runs(served: Served) -> None:
    key = served.enqueue("wait", key="for/ever & <b>")

    def shown() -> str:
        # The job appears before the first report of its worker.
        page = served.page("/workers")
        return page if "for/ever &amp; &lt;b&gt;" in page and "pid" in page else ""

    page = eventually_sync(shown)
    assert "/console/job?key=for%2Fever+%26+%3Cb%3E&amp;queue=default" in page
    served.run(served.saqueduct.queues.abort(key))


@pytest.mark.parametrize(
    "report",
    [
        b'{"stats": null, "metadata": {"load": NaN}}',
        b'{"stats": {"complete": 1e999, "uptime": "<b>"}}',
        b"pickled \xff",
        b"[]",
        b"[" * 100_000,
        b'{"stats": []}',
    ],
    ids=["nan", "infinite", "not-json", "list", "nested", "list-of-stats"],
)
def test_pages_show_a_stock_worker_whose_report_cannot_be_read(served: Served, report: bytes) -> None:
    queue = served.saqueduct.queues.get("reports")
    place = queue.namespace("worker_info:stock <b>")

    async def write(raw: bytes, seconds: float) -> None:
        await queue.redis.set(place, raw, px=60_000)
        await queue.redis.zadd(queue.namespace("stats"), {place: (time.time() + seconds) * 1000})

    served.run(write(report, 60.0))
    try:
        eventually_sync(lambda: "stock &lt;b&gt;" in served.page("/workers"))
        served.page()
        assert served.client.get("/saq/api/queues/reports").status_code == 200
        assert served.run(Sampler(served.saqueduct).current()).mark
    finally:
        served.run(write(b"{}", -60.0))


def test_a_worker_is_paused_with_a_reason_and_resumed(served: Served) -> None:
    found = eventually_sync(lambda: re.search(r'name="worker" value="([^"]+)"', served.page("/workers")))
    assert found is not None
    assert served.note("/workers/pause", worker=found[1], why="memory < all").startswith("Paused the worker ")
    page = served.page("/workers")
    assert "memory &lt; all" in page
    assert "by ada" in page
    eventually_sync(lambda: "It takes no jobs" in served.page("/workers"))
    assert "are paused" in served.page()
    assert served.note("/workers/resume", worker=found[1]).startswith("Resumed the worker ")
    assert served.submit("/workers/pause", worker="nobody").status_code == 404


def test_a_schedule_is_shown_in_words_with_its_next_ticks(served: Served) -> None:
    page = served.page("/schedules")
    assert "Every Monday at 03:00" in page
    assert page.count("Mon ") == 5
    assert "Europe/Berlin" in page


def test_a_schedule_shows_its_last_runs_and_the_ticks_without_a_job(served: Served) -> None:
    now = dt.datetime.now(ZoneInfo("Europe/Berlin"))
    monday = (now - dt.timedelta(days=now.weekday() + 7)).replace(hour=3, minute=0, second=0, microsecond=0)
    weeks = [monday - dt.timedelta(weeks=week) for week in range(5)]
    ran = [at for at in weeks if at is not weeks[2]]

    async def record() -> None:
        store = served.saqueduct.store
        assert store is not None
        async with store.sessions.begin() as session:
            for at in ran:
                key = f"cron:weekly:{int(at.timestamp())}"
                row = {
                    "queued_at": at,
                    "key": key,
                    "queue": "default",
                    "task": "weekly",
                    "schedule": "weekly",
                    "attempts": 1,
                }
                ends = {
                    "started_at": at,
                    "ended_at": at + (dt.timedelta(0) if at == monday else dt.timedelta(seconds=90)),
                }
                session.add(JobRecord(**row, **ends, status="aborted" if at == monday else "failed"))

    served.run(record())
    page = served.page("/schedules")
    assert page.count('href="/console/job?key=cron%3Aweekly%3A') == len(ran)
    section = page[page.index(">weekly</h2>") :]
    last_runs = section[section.index("Last runs") : section.index("Next ticks")]
    assert last_runs.index("aborted") < last_runs.index("failed")
    assert "1 min 30 s" in last_runs
    assert "0 ms" in last_runs
    assert f"Without a job: {weeks[2]:%Y-%m-%d}" in re.sub(r"<[^>]+>", "", last_runs)


def test_a_schedule_is_run_paused_and_resumed(served: Served) -> None:
    assert served.note("/schedules/run", schedule="weekly").startswith("Enqueued ")
    assert "Paused the schedule weekly" in served.note("/schedules/pause", schedule="weekly", why="holidays")
    assert "The schedule weekly is paused by ada: holidays." in served.page()
    assert "Resumed the schedule weekly" in served.note("/schedules/resume", schedule="weekly")
    assert served.submit("/schedules/run", schedule="yearly").status_code == 404


def test_many_pages_at_once_share_a_reading(served: Served) -> None:
    async def read() -> int:
        sampler = Sampler(served.saqueduct)
        await asyncio.gather(*(sampler.current() for _ in range(20)))
        return sampler.reads

    assert served.run(read()) == 1


def test_a_stream_reports_changes(served: Served) -> None:
    with served.client.stream("GET", "/console/live") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert any(line == "event: change" for line in lines)


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 9 * * mon-fri", "every weekday at 09:00"),
        ("0 9 * * MON", "every Monday at 09:00"),
        ("30 8 * * mon,wed,sun", "every Monday, Wednesday and Sunday at 08:30"),
        ("0 9 * * 6,0", "every Saturday and Sunday at 09:00"),
        ("*/5 * * * fri-sun", "every 5 minutes on Friday to Sunday"),
        ("0 9 * * 1-5/2", "0 9 * * 1-5/2"),
        ("0 9 * * mon#1", "0 9 * * mon#1"),
    ],
)
def test_a_cron_is_shown_in_words(cron: str, words: str) -> None:
    assert in_words(Schedule(cron=cron)) == words


@pytest.mark.parametrize("end", ["complete", "failed", "retried", "aborted"])
def test_a_job_that_began_and_ended_between_two_samples_is_a_change(end: str) -> None:
    database: Any = SimpleNamespace(dead_letters=None)

    def mark(count: int) -> object:
        worker = SampledWorker("worker", "default", {"uptime": 1, end: count})
        return Snapshot(0.0, True, (), {}, [worker], (), database).mark

    assert mark(1) == mark(1) != mark(2)
