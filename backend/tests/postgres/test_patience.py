"""Queries that give up, and the transaction afterwards."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.postgres.patience import rows_within


async def limit_of(session: AsyncSession) -> str:
    return str((await session.execute(text("SHOW statement_timeout"))).scalar_one())


async def test_after_a_query_in_time_nothing_else_is_limited(session: AsyncSession) -> None:
    before = await limit_of(session)
    rows = await rows_within(60_000, session, text("SELECT CAST(:number AS int)"), {"number": 7})
    assert rows == [(7,)]
    assert await limit_of(session) == before


async def test_the_limit_holds_while_the_query_runs(session: AsyncSession) -> None:
    assert await rows_within(60_000, session, text("SELECT current_setting('statement_timeout')")) == [("1min",)]


async def test_a_query_that_takes_longer_has_no_rows_and_the_transaction_goes_on(session: AsyncSession) -> None:
    before = await limit_of(session)
    assert await rows_within(1, session, text("SELECT pg_sleep(60)")) is None
    assert await limit_of(session) == before


async def test_other_errors_are_raised(session: AsyncSession) -> None:
    with pytest.raises(DBAPIError, match="division by zero"):
        await rows_within(60_000, session, text("SELECT 1 / 0"))
    assert await limit_of(session)
