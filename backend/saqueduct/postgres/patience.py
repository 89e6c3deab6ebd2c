"""Queries that give up: a part of a page that takes too long is left out."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Executable, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.postgres.outage import took_too_long


async def rows_within(
    milliseconds: int,
    session: AsyncSession,
    query: Executable,
    values: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[Any] | None:
    """The rows of a query; None: it takes longer. The transaction goes on either way.

    Args:
        milliseconds: that it may take.
        session: of the caller, in a transaction.
        query: to run.
        values: of its parameters.
        options: of its execution.
    """
    try:
        async with session.begin_nested():
            await session.execute(text(f"SET LOCAL statement_timeout TO '{milliseconds}ms'"))
            rows = list(await session.execute(query, dict(values or {}), execution_options=dict(options or {})))
            # The release of the savepoint would keep the limit, and be subject to it: PostgreSQL counts the time that
            # a busy process takes between the messages of a statement. Its failure would end the whole transaction.
            await session.execute(text("SET LOCAL statement_timeout TO DEFAULT"))
            return rows
    except DBAPIError as error:
        if not took_too_long(error):
            raise
        return None
