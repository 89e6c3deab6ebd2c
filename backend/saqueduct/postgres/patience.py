"""Queries that give up: a part of a page that takes too long is left out."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.postgres.local_settings import local_settings
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
        # The limit ends before the savepoint: its release would be subject to it, and PostgreSQL counts the time that a
        # busy process takes between the messages of a statement. Its failure would end the whole transaction.
        limit = {"statement_timeout": f"{milliseconds}ms"}
        async with session.begin_nested(), local_settings(session, limit):
            return list(await session.execute(query, dict(values or {}), execution_options=dict(options or {})))
    except DBAPIError as error:
        if not took_too_long(error):
            raise
        return None
