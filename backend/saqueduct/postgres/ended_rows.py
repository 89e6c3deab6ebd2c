"""Rows of the outbox whose durable jobs have ended."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from saq import Job
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from saqueduct.postgres.base import quoted
from saqueduct.postgres.rows import Identity, identity
from saqueduct.tasks.job_meta import ROUND

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


async def _identities(
    connection: AsyncConnection | AsyncSession, statement: TextClause, jobs: Sequence[Job]
) -> set[Identity]:
    names = {(job.get_queue().name, job.key, job.queued, int(job.meta.get(ROUND, 0))): identity(job) for job in jobs}
    # In a fixed order, as far as PostgreSQL keeps it: otherwise two such statements could wait for each other.
    columns = map(list, zip(*sorted(names), strict=True))
    arrays: dict[str, Any] = dict(zip(("queues", "keys", "queued", "rounds"), columns, strict=True))
    return {names[row.queue, row.key, row.queued, row.round] for row in await connection.execute(statement, arrays)}
