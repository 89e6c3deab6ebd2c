"""Deletes many rows in small steps."""

from collections.abc import Awaitable, Callable

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.base import Identified

BATCH_SIZE = 1000
"""Rows that one statement deletes."""

AfterBatch = Callable[[], Awaitable[None]] | None
"""Awaited after each batch; a job commits there, so that locks stay short."""


async def delete_in_batches(
    session: AsyncSession, model: type[Identified], condition: ColumnElement[bool], after_batch: AfterBatch = None
) -> int:
    """Delete the rows of a table that meet a condition; return how many.

    Objects of the session that represent such rows are not changed.
    """
    batch = select(model.id).where(condition).limit(BATCH_SIZE)
    # The condition again: a locked row is checked again when the lock is released, and may no longer meet it.
    statement = delete(model).where(model.id.in_(batch), condition).returning(model.id)
    statement = statement.execution_options(synchronize_session=False)
    deleted = 0
    while count := len((await session.scalars(statement)).all()):
        deleted += count
        if after_batch is not None:
            await after_batch()
    return deleted
