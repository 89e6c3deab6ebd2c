"""Rows of the outbox whose durable jobs have ended."""

import functools
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from saq import Job
from saq.job import Status
from sqlalchemy import TextClause, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from saqueduct.postgres.base import in_schema, quoted
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.rows import Identity, identity
from saqueduct.tasks.completion import Ended
from saqueduct.tasks.job_meta import DURABLE, ROUND, SCHEDULE

logger = logging.getLogger("saqueduct")

ENDED = """
    unnest(CAST(:queues AS text[]), CAST(:keys AS text[]), CAST(:queued AS bigint[]), CAST(:rounds AS smallint[]))
        AS ended(queue, key, queued, round)
"""
"""Jobs as rows, so that their rows of the outbox are not confused with later rows for the same keys."""


class _OfEnded(NamedTuple):
    """Statements about rows of ended jobs."""

    let_go: TextClause
    let_go_all: TextClause
    left: TextClause


@functools.cache
def _of_ended(schema: str | None) -> _OfEnded:
    outbox = quoted("outbox", schema)
    let_go = text(f"""
    WITH free AS (
        SELECT queue, key FROM {outbox} AS o JOIN {ENDED} USING (queue, key, queued, round) FOR UPDATE OF o SKIP LOCKED
    )
    DELETE FROM {outbox} AS o USING free WHERE o.queue = free.queue AND o.key = free.key
    RETURNING o.queue, o.key, o.queued, o.round
    """)  # noqa: S608  (a quoted name, and the text above)
    let_go_all = text(f"""
    DELETE FROM {outbox} AS o USING {ENDED}
    WHERE o.queue = ended.queue AND o.key = ended.key AND o.queued = ended.queued AND o.round = ended.round
    RETURNING o.queue, o.key, o.queued, o.round
    """)  # noqa: S608
    left = text(f"SELECT queue, key, queued, round FROM {outbox} JOIN {ENDED} USING (queue, key, queued, round)")  # noqa: S608
    return _OfEnded(let_go, let_go_all, left)


async def let_go(
    connection: AsyncConnection | AsyncSession, jobs: Sequence[Job], schema: str | None, *, wait: bool
) -> set[Identity]:
    """Delete the rows of jobs; returns the jobs of deleted rows.

    Args:
        connection: whose transaction it is.
        jobs: that have ended.
        schema: of the tables.
        wait: True: wait for rows that another transaction has locked; False: they stay.
    """
    statements = _of_ended(schema)
    return await _identities(connection, statements.let_go_all if wait else statements.let_go, jobs)


async def left(connection: AsyncConnection | AsyncSession, jobs: Sequence[Job], schema: str | None) -> set[Identity]:
    """The jobs that have a row."""
    return await _identities(connection, _of_ended(schema).left, jobs) if jobs else set()


async def ended_before(
    connection: AsyncConnection | AsyncSession, jobs: Sequence[Job], schema: str | None
) -> dict[Identity, Ended]:
    """How those durable jobs among some ended that have no row any more. A job that has left no record has completed.

    The row of a schedule's job may follow the job: of such a job nothing is known.
    """
    durable = {identity(job): job for job in jobs if job.meta.get(DURABLE) and SCHEDULE not in job.meta}
    gone = durable.keys() - await left(connection, list(durable.values()), schema)
    if not gone:
        return {}
    names = (JobRecord.queued_at, JobRecord.key, JobRecord.queue, JobRecord.round)
    failed = JobRecord.status.in_((Status.FAILED.value, Status.ABORTED.value))
    query = select(*names, JobRecord.status, JobRecord.error).where(tuple_(*names).in_(gone), failed)
    ended = dict.fromkeys(gone, Ended(None))
    for at, key, queue, number, status, error in await connection.execute(query.execution_options(**in_schema(schema))):
        why = f"it had {'failed' if status == Status.FAILED.value else 'been aborted'} before its worker died"
        ended[at, key, queue, number] = Ended(None, f"{why}: {error}")
    for name in gone:
        logger.warning("the job %s had ended before its worker died, and does not run again", name[1])
    return ended


async def _identities(
    connection: AsyncConnection | AsyncSession, statement: TextClause, jobs: Sequence[Job]
) -> set[Identity]:
    names = {(job.get_queue().name, job.key, job.queued, int(job.meta.get(ROUND, 0))): identity(job) for job in jobs}
    # In a fixed order, as far as PostgreSQL keeps it: otherwise two such statements could wait for each other.
    columns = map(list, zip(*sorted(names), strict=True))
    arrays: dict[str, Any] = dict(zip(("queues", "keys", "queued", "rounds"), columns, strict=True))
    return {names[row.queue, row.key, row.queued, row.round] for row in await connection.execute(statement, arrays)}
