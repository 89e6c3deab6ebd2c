"""What waits in PostgreSQL, in numbers that cost little however much there is."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.postgres.base import in_schema
from saqueduct.postgres.history import DEAD
from saqueduct.postgres.models import JobRecord, OutboxJob
from saqueduct.postgres.record_filter import MOST_DEAD_LETTERS


async def dead_letters(session: AsyncSession, schema: str | None) -> dict[str, int]:
    """The number of dead letters by queue."""
    some = select(JobRecord.queue).where(*DEAD).limit(MOST_DEAD_LETTERS).subquery()
    query = select(some.c.queue, func.count()).group_by(some.c.queue)
    rows = await session.execute(query, execution_options=in_schema(schema))
    return {row[0]: row[1] for row in rows}


async def outbox_oldest(session: AsyncSession, schema: str | None) -> float:
    """Age in seconds of the oldest committed job that Redis does not have; 0: there is none."""
    age = func.extract("epoch", func.now() - func.min(OutboxJob.created_at))
    query = select(age).where(OutboxJob.published_at.is_(None))
    found = (await session.scalars(query, execution_options=in_schema(schema))).one()
    return max(0.0, float(found or 0.0))
