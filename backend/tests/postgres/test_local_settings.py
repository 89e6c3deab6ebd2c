"""Settings for some statements of a transaction, and the statements after them."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.errors import InvalidCursor
from saqueduct.postgres.history import JobHistory
from saqueduct.postgres.index_order import in_index_order
from saqueduct.postgres.local_settings import local_settings
from saqueduct.postgres.patience import rows_within
from saqueduct.postgres.record_filter import RecordFilter

NAMES = ("enable_sort", "enable_bitmapscan", "statement_timeout")
FAILING = text("SELECT 1 / 0")


async def settings_of(session: AsyncSession) -> list[str]:
    return [str(await session.scalar(text(f"SHOW {name}"))) for name in NAMES]


@pytest.fixture
async def before(session: AsyncSession) -> list[str]:
    """The settings of a transaction that has its own."""
    await session.execute(text("SET LOCAL statement_timeout = '41s'"))
    return await settings_of(session)


async def test_settings_hold_within_the_block_alone(session: AsyncSession, before: list[str]) -> None:
    async with in_index_order(session, within=1500):
        assert await settings_of(session) == ["off", "off", "1500ms"]
    assert await settings_of(session) == before


async def test_settings_are_restored_after_an_error_that_is_caught(session: AsyncSession, before: list[str]) -> None:
    with pytest.raises(DBAPIError, match="division by zero"):
        async with in_index_order(session, within=1500), session.begin_nested():
            await session.execute(FAILING)
    assert await settings_of(session) == before


async def test_a_savepoint_around_the_block_restores_them_after_a_failed_statement(
    session: AsyncSession, before: list[str]
) -> None:
    with pytest.raises(DBAPIError, match="division by zero"):
        async with session.begin_nested(), in_index_order(session, within=1500):
            await session.execute(FAILING)
    assert await settings_of(session) == before


async def test_no_settings_cost_nothing(session: AsyncSession, before: list[str]) -> None:
    async with local_settings(session, {}):
        assert await settings_of(session) == before


async def test_a_limited_query_leaves_the_limit_of_the_transaction(session: AsyncSession, before: list[str]) -> None:
    assert await rows_within(1500, session, text("SELECT 7")) == [(7,)]
    assert await settings_of(session) == before


async def test_searches_leave_the_settings_of_the_transaction(session: AsyncSession, before: list[str]) -> None:
    history = JobHistory(session)
    newest, tagged = RecordFilter(task="none"), RecordFilter(tag="none")
    await history.page(newest)
    await history.page_of([newest, tagged])
    await history.dead_letters(tagged)
    await history.dead_errors(newest, 10)
    with pytest.raises(InvalidCursor):
        await history.page(newest, "no cursor")
    assert await settings_of(session) == before
