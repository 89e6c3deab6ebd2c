"""Pages of records that no index finds: each reads a portion of them, and the cursor leads on."""

import datetime as dt
from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from saqueduct.postgres import migrate
from saqueduct.postgres.history import JobHistory, RecordsPage
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.postgres.rows import Row
from saqueduct.timings import PostgresTimings
from tests.postgres.partition_kit import DAY, now, row, write

RARE = RecordFilter(task="rare")
RECENT = dt.timedelta(seconds=10)


def of(task: str, queued: dt.datetime, key: str, status: str = "complete") -> Row:
    return row(queued, status, key=key)._replace(task=task)


@pytest.fixture
async def session(empty_database: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """Ten records of today, `job-0` is the oldest: the first is of the rare task, as is one of three days ago."""
    await migrate.upgrade(empty_database)
    today = now() - RECENT
    records = [of("rare" if number == 0 else "often", today, f"job-{number}") for number in range(10)]
    # The same millisecond: a page may end between two of them.
    await write(empty_database, of("rare", today - 3 * DAY, "old"), *records)
    async with AsyncSession(empty_database) as session, session.begin():
        yield session


async def pages(session: AsyncSession, which: RecordFilter, portion: int, limit: int = 50) -> list[RecordsPage]:
    # The day before may not have its indexes yet.
    history = JobHistory(session, timings=PostgresTimings(unindexed=DAY.total_seconds()))
    found: list[RecordsPage] = []
    cursor = None
    while not found or cursor is not None:
        found.append(await history.page(which, cursor, limit, portion))
        cursor = found[-1].cursor
    return found


def keys(found: Sequence[RecordsPage]) -> list[list[str]]:
    return [[record.key for record in page.records] for page in found]


async def test_a_page_reads_a_portion_and_says_down_to_when(session: AsyncSession) -> None:
    found = await pages(session, RARE, 4)
    assert keys(found) == [[], [], ["job-0", "old"]]
    assert [page.searched_since is None for page in found] == [False, False, True]


async def test_a_portion_may_end_at_the_record_that_matches(session: AsyncSession) -> None:
    assert keys(await pages(session, RARE, 10)) == [["job-0"], ["old"]]


async def test_a_full_page_leads_on_as_any_other(session: AsyncSession) -> None:
    found = await pages(session, RecordFilter(task="often"), 4, limit=2)
    assert [key for page in keys(found) for key in page] == [f"job-{number}" for number in range(9, 0, -1)]
    assert found[0].searched_since is None
    assert len(found[0].records) == 2


@pytest.mark.parametrize(
    "which",
    [RecordFilter(), RecordFilter(status="complete"), RecordFilter(task="rare", status="failed")],
    ids=["all", "status", "failed"],
)
async def test_what_an_index_finds_has_no_bound(session: AsyncSession, which: RecordFilter) -> None:
    assert len(await pages(session, which, 1)) == 1


async def test_days_that_have_their_indexes_have_no_bound(session: AsyncSession) -> None:
    before = RecordFilter(task="rare", until=now() - 2 * DAY)
    assert keys(await pages(session, before, 1)) == [["old"]]


async def test_the_filters_own_times_count(session: AsyncSession) -> None:
    assert keys(await pages(session, RecordFilter(task="rare", since=now() - DAY), 10)) == [["job-0"], []]
    assert keys(await pages(session, RecordFilter(task="rare", until=now() - DAY), 1)) == [["old"]]


async def test_a_search_for_text_reads_a_portion_of_every_day(session: AsyncSession) -> None:
    found = await pages(session, RecordFilter(text="nobody has this"), 5)
    assert keys(found) == [[], [], []]


@pytest.fixture
async def letters(empty_database: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """Ten dead letters of today, `job-0` is the oldest, and one of three days ago."""
    await migrate.upgrade(empty_database)
    today = now() - RECENT
    records = [of("rare" if number == 0 else "often", today, f"job-{number}", "failed") for number in range(10)]
    await write(empty_database, of("rare", today - 3 * DAY, "old", "failed"), *records)
    # They are none, and not counted.
    await write(empty_database, *(of("often", today, f"more-{number}") for number in range(20)))
    async with AsyncSession(empty_database) as session, session.begin():
        yield session


async def dead(session: AsyncSession, which: RecordFilter, portion: int) -> list[RecordsPage]:
    history = JobHistory(session, timings=PostgresTimings(unindexed=DAY.total_seconds()))
    found = [await history.dead_letters(which, None, 50, portion)]
    while (cursor := found[-1].cursor) is not None:
        found.append(await history.dead_letters(which, cursor, 50, portion))
    return found


@pytest.mark.parametrize(
    ("which", "listed"),
    [
        (RecordFilter(text="nobody has this"), [[], [], []]),
        (RecordFilter(error="nobody has this"), [[], [], []]),
        (RecordFilter(queue="nobody has this"), [[], [], []]),
        (RecordFilter(arguments={"nobody": "has this"}), [[], [], []]),
    ],
    ids=["text", "error", "queue", "arguments"],
)
async def test_a_search_among_dead_letters_reads_a_portion_of_them(
    letters: AsyncSession, which: RecordFilter, listed: list[list[str]]
) -> None:
    found = await dead(letters, which, 5)
    assert keys(found) == listed
    assert [page.searched_since is None for page in found] == [False, False, True]


async def test_the_dead_letters_of_a_task_have_an_index(letters: AsyncSession) -> None:
    assert keys(await dead(letters, RARE, 1)) == [["job-0", "old"]]
