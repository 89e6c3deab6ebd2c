"""The history of queues and tasks: counted by the process, added up in PostgreSQL, read over HTTP."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from saqueduct.common.durations import BUCKETS, Durations, percentile
from saqueduct.errors import InvalidSearch
from saqueduct.postgres.time_series import Numbers, Place, TimeSeries
from saqueduct.postgres.time_steps import DAY, HOUR, Span
from saqueduct.telemetry.history import HistoryWriter
from tests.fixtures.poll import eventually
from tests.litestar.access_kit import Served, basic, served_with_tables, store_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = dt.datetime.now(dt.UTC)
NOON = int(NOW.timestamp()) // DAY * DAY - DAY + DAY // 2
"""Yesterday, in epoch seconds."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(redis_url: str, migrated_url: str) -> AsyncIterator[Served]:
    async with served_with_tables(redis_url, "history", migrated_url) as shop:
        yield shop


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def empty(shop: Served) -> None:
    async with store_of(shop).sessions.begin() as session:
        await session.execute(text("DELETE FROM job_history"))


def numbers(complete: int = 1, failed: int = 0, wait: int = 0, run: int = 0) -> Numbers:
    """Some jobs, all of whose durations are in the buckets of these places."""
    found = Numbers.none()
    found.counts[1:3] = complete, failed
    found.waits[wait], found.runs[run] = complete, complete + failed
    found.seconds[:] = [complete * BUCKETS[wait], (complete + failed) * BUCKETS[run]]
    return found


def moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()


async def series(shop: Served, **query: Any) -> list[dict[str, Any]]:
    answer = await shop.call("GET", "/queue/history", basic("vera"), params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["points"]
    return found


async def test_jobs_are_counted_with_their_waits_and_durations(shop: Served) -> None:
    for number in range(3):
        await shop.call("POST", "/queue/tasks/add", basic("omar"), json={"a": number, "b": 1})
    history = shop.plugin.saqueduct.history
    assert history is not None

    async def counted() -> bool:
        await history.write()
        points = await series(shop, task="add", queue="history")
        return bool(sum(point["complete"] for point in points) == 3)

    async with shop.plugin.saqueduct.working():
        await eventually(counted)
    points = await series(shop, task="add")
    assert [sum(point[name] for point in points) for name in ("enqueued", "failed", "aborted", "retried")] == [
        3,
        0,
        0,
        0,
    ]
    assert sum(point["wait"]["count"] for point in points) == 3
    assert sum(point["run"]["count"] for point in points) == 3
    [total] = (await shop.call("GET", "/queue/history/tasks", basic("vera"))).json()
    assert (total["queue"], total["task"], total["complete"]) == ("history", "add", 3)
    assert 0 < total["run"]["p50"] <= total["run"]["p99"]
    await history.write()
    assert sum(point["complete"] for point in await series(shop, task="add")) == 3


async def test_processes_add_up_in_minutes_hours_and_days(shop: Served) -> None:
    store = store_of(shop)
    # The third one is an hour later.
    for minute, found in ((NOON, numbers(2, 1)), (NOON, numbers(3)), (NOON + HOUR, numbers(5, run=3))):
        await asyncio.gather(
            store.add_history({Place(minute, "history", "a"): found, Place(minute, "history", "b"): found}),
            store.add_history({Place(minute, "history", "b"): found, Place(minute, "history", "a"): found}),
        )
    since, until = moment(NOON), moment(NOON + 2 * HOUR)
    for step in (60, 300, HOUR, DAY):
        points = await series(shop, since=since, until=until, step=step)
        assert sum(point["complete"] for point in points) == 40, step
        assert sum(point["failed"] for point in points) == 4, step
        assert sum(point["run"]["count"] for point in points) == 44, step
        assert len(points) == max(1, 2 * HOUR // step)
    hours = await series(shop, since=since, until=until, step=HOUR, task="a")
    assert [point["complete"] for point in hours] == [10, 10]
    assert [point["run"]["p95"] for point in hours] == [pytest.approx(0.00475), pytest.approx(0.04875)]
    assert hours[0]["run"]["mean"] == pytest.approx(0.005)
    assert await series(shop, since=since, until=until, step=DAY, queue="other") != []
    assert sum(point["complete"] for point in await series(shop, since=since, until=until, queue="other")) == 0


async def test_steps_without_jobs_are_points_without_durations(shop: Served) -> None:
    points = await series(shop, since="1h")
    assert len(points) in (60, 61)
    assert points[0]["run"] == {"count": 0, "mean": None, "p50": None, "p95": None, "p99": None}
    times = [dt.datetime.fromisoformat(point["at"]) for point in points]
    gaps = {later - earlier for earlier, later in pairwise(times)}
    assert gaps == {dt.timedelta(minutes=1)}


@pytest.mark.parametrize(
    "query",
    ["step=61", "step=30", "since=never", "since=8d&step=60", "since=91d&step=3600", "since=800d", "since=7d&until=8d",
     "since=6d&step=60", "zzz=1"],
)  # fmt: skip
async def test_times_and_steps_that_do_not_fit_are_refused(shop: Served, query: str) -> None:
    answer = await shop.call("GET", f"/queue/history?{query}", basic("vera"))
    assert (answer.status_code, answer.json()["status"]) == (400, 400), answer.text


async def test_a_step_is_chosen_that_rows_are_kept_for() -> None:
    now = dt.datetime.now(dt.UTC)
    chosen = {days: Span.of(now - dt.timedelta(days=days), None) for days in (0.04, 1, 7, 30, 89, 600)}
    assert [span.step for span in chosen.values()] == [60, 300, 3600, 21600, DAY, 7 * DAY]
    assert [span.source for span in chosen.values()] == [60, 60, 3600, 3600, DAY, DAY]
    with pytest.raises(InvalidSearch, match="before until"):
        Span.of(now, now - dt.timedelta(hours=1))


async def test_rows_are_pruned_by_their_step(shop: Served) -> None:
    store = store_of(shop)
    now = int(NOW.timestamp()) // 60 * 60
    for days in (1, 8, 91, 731):
        await store.add_history({Place(now - days * DAY, "history", "a"): numbers()})
    async with store.sessions() as session:
        await TimeSeries(session).prune(session.commit)
        left = await session.execute(text("SELECT step, count(*) FROM job_history GROUP BY step ORDER BY step"))
        assert [tuple(row) for row in left] == [(60, 1), (3600, 2), (DAY, 3)]


class Store:
    """Keeps what it gets, while it is there."""

    def __init__(self) -> None:
        self.away = False
        self.found: list[Numbers] = []

    async def add_history(self, found: Any) -> None:
        if self.away:
            raise OSError("no answer")
        self.found += found.values()


async def test_what_postgresql_does_not_take_waits_and_is_written_once(shop: Served) -> None:
    history = shop.plugin.saqueduct.history
    assert history is not None
    counters = history._counters
    store = Store()
    writer = HistoryWriter(counters, store)
    await writer.write()
    store.found.clear()
    store.away = True
    counters[0]._named("add").complete += 2
    with pytest.raises(OSError, match="no answer"):
        await writer.write()
    counters[0]._named("add").complete += 1
    store.away = False
    await writer.write()
    await writer.write()
    assert sum(each.counts[1] for each in store.found) == 3


async def test_percentiles_are_interpolated_and_end_at_the_last_bound() -> None:
    assert percentile([100] + [0] * 16, 0.5) == pytest.approx(0.0025)
    assert percentile([0] * 16 + [3], 0.5) == 1800.0
    assert percentile([50, 50] + [0] * 15, 0.99) == pytest.approx(0.0099)
    assert Durations.of([0] * 17, 0.0).count == 0
