"""Early ends: durable jobs of schedules that end before their rows are written.

Such a job is made in Redis first, and its row follows. If it leaves no record, a row of another kind records that it
has ended. That row keeps the job's own row from being written, which no process would ever delete.
"""

from collections.abc import Sequence

from saq import Job
from sqlalchemy import and_, delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from saqueduct.postgres.base import in_schema
from saqueduct.postgres.models import OutboxJob
from saqueduct.tasks.job_meta import ROUND


async def note(connection: AsyncConnection | AsyncSession, jobs: Sequence[Job], schema: str | None) -> None:
    """Keep the rows of jobs from being written."""
    rows = [
        {
            "queue": job.get_queue().name,
            "key": job.key,
            "queued": job.queued,
            "round": int(job.meta.get(ROUND, 0)),
            "job": "",
            "durable": False,
            "published_at": func.now(),
        }
        for job in jobs
    ]
    if rows:
        statement = insert(OutboxJob).values(rows).on_conflict_do_nothing()
        await connection.execute(statement.execution_options(**in_schema(schema)))


async def forget(connection: AsyncConnection, age: float) -> None:
    """Delete what was noted so many seconds ago."""
    old = OutboxJob.published_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, age)
    await connection.execute(delete(OutboxJob).where(and_(OutboxJob.durable.is_(False), old)))
