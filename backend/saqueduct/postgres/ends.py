"""Ends: durable jobs have ended, and PostgreSQL learns of many with one statement: it deletes their rows from the
outbox, and writes their records."""

import functools
from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
from saq import Job
from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct.postgres.base import quoted
from saqueduct.postgres.direct import DirectConnections
from saqueduct.postgres.outage import DEADLOCK, LOCK_NOT_AVAILABLE, sqlstate_of
from saqueduct.postgres.outbox import limited
from saqueduct.postgres.records import Rows
from saqueduct.postgres.rows import COLUMNS, identity, upsert_from
from saqueduct.tasks.job_meta import ROUND

LOCK = "200ms"
"""How long the statement waits for a locked row. The process that has just enqueued a job marks its row at the same
time; a lock that lasts longer must not hold up the ends of other jobs."""


@functools.cache
def end_statement(schema: str | None) -> str:
    """SQL whose only parameter is a JSON array of jobs, each an object with some of COLUMNS; without a `status` a job
    leaves no record. It returns the places of the jobs that had a row in the outbox, counted from 1."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    source = "gone AS u WHERE u.status IS NOT NULL ORDER BY 1, 2, 3"
    return f"""
        WITH ended AS MATERIALIZED (
            SELECT * FROM ROWS FROM (json_to_recordset(CAST($1 AS json)) AS ({columns}))
                WITH ORDINALITY AS u({", ".join(COLUMNS)}, place)
            WHERE (SELECT set_config('lock_timeout', '{LOCK}', true)) IS NOT NULL
        ), gone AS (
            DELETE FROM {quoted("outbox", schema)} AS o USING ended AS e
            WHERE o.queue = e.queue AND o.key = e.key AND o.queued = e.queued AND o.round = e.round
            RETURNING e.*
        ), written AS ({upsert_from(source, schema)})
        SELECT place FROM gone
    """  # noqa: S608  (made of the names above)


class Ends:
    """Writes the ends of durable jobs.

    Args:
        engine: the store's own connections.
        direct: those for frequent statements.
        rows: makes the records.
    """

    def __init__(self, engine: AsyncEngine, direct: DirectConnections, rows: Rows) -> None:
        self._engine = engine
        self._direct = direct
        self._rows = rows

    async def write(self, jobs: Sequence[Job], seconds: float, *, record: bool = True) -> list[bool | None]:
        """Delete the outbox rows of durable jobs that have ended, and write their records.

        Args:
            jobs: in any order; of two ends of one job the first counts.
            seconds: that PostgreSQL gets.
            record: False: write no records.

        Returns:
            For each False when its row was already deleted, and None when another transaction has locked its row and it
            must be deleted later: waiting would hold up all others.

        Raises:
            TimeoutError, SQLAlchemyError, asyncpg.PostgresError, OSError: whether they are written is not known.
        """
        names = list(map(identity, jobs))
        first = dict(zip(reversed(names), reversed(jobs), strict=True))
        # By key: two statements about the same rows could deadlock otherwise.
        by_key = sorted(first.items(), key=lambda item: item[0][2:0:-1])
        counts: dict[Any, bool | None] = dict.fromkeys(await self._delete(by_key, seconds, record=record), True)
        if rest := [job for name, job in by_key if name not in counts]:
            async with limited(self._engine, seconds) as connection:
                found = await self._rows.end(connection, rest, record=record)
            counts.update(zip(map(identity, rest), found, strict=True))
        answers = []
        for name in names:
            answers.append(counts[name])
            if counts[name]:
                counts[name] = False
        return answers

    async def _delete(self, jobs: Sequence[tuple[Any, Job]], seconds: float, *, record: bool) -> list[Any]:
        """The identities of those that had a row; none if a row was locked."""
        encoded = msgspec.json.encode([self._row(job, record=record) for _, job in jobs]).decode()
        try:
            found = await self._direct.fetch(end_statement(self._rows.schema), encoded, seconds=seconds)
        except asyncpg.PostgresError as error:
            if sqlstate_of(error) not in (LOCK_NOT_AVAILABLE, DEADLOCK):
                raise
            return []
        return [jobs[row["place"] - 1][0] for row in found]

    def _row(self, job: Job, *, record: bool) -> dict[str, Any]:
        row = self._rows.of(job) if record else None
        if row is None:
            queue, number = job.get_queue().name, int(job.meta.get(ROUND, 0))
            return {"queued": job.queued, "key": job.key, "queue": queue, "round": number}
        return {name: value for name, value in zip(COLUMNS, row.values, strict=True) if value is not None}
