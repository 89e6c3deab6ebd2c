"""The newest runs of a task: the slowest of them, and arguments of those that failed."""

import datetime as dt
import time
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.postgres.base import in_schema
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.patience import rows_within

SAMPLED: Final = 2_000
"""The newest ended jobs of a task among which the slowest are found."""

COMPARED: Final = 500
"""The newest failed and complete jobs of a task whose arguments are compared."""


class Run(NamedTuple):
    """A job that has ended, or waits for another attempt."""

    key: str
    queue: str
    status: str
    queued_at: dt.datetime
    seconds: float | None
    """Of its last attempt; None: unknown."""


class TaskRuns:
    """Reads records of one task; None where that takes longer than what is left of `patience`.

    Args:
        session: of the caller, in a transaction.
        task: name of the task.
        schema: of the tables; None: what the `search_path` of the session's connection finds.
        patience: seconds that all searches together may take: a rare task without an index is not worth a slow page.
    """

    def __init__(self, session: AsyncSession, task: str, schema: str | None = None, *, patience: float) -> None:
        self._session = session
        self._task = task
        self._options = in_schema(schema)
        self._left = patience

    async def slowest(self, since: dt.datetime, most: int) -> list[Run] | None:
        """The jobs whose last attempt took longest, among the SAMPLED newest ones since then."""
        columns = (JobRecord.key, JobRecord.queue, JobRecord.status, JobRecord.queued_at)
        took = (JobRecord.ended_at - JobRecord.started_at).label("took")
        query: Select[*tuple[Any, ...]] = select(*columns, took)
        newest = self._newest(query, since, JobRecord.ended_at >= JobRecord.started_at, SAMPLED)
        some = newest.subquery()
        found = await self._in_time(select(some).order_by(some.c.took.desc()).limit(most))
        return (
            None
            if found is None
            else [Run(key, queue, status, at, took.total_seconds()) for key, queue, status, at, took in found]
        )

    async def arguments(self, status: str, since: dt.datetime) -> list[dict[str, Any]] | None:
        """The arguments of the COMPARED newest jobs with that status since then."""
        # A literal: a planner that does not know the value cannot see that a partial index covers it.
        own = JobRecord.status == literal(status, literal_execute=True)
        query: Select[*tuple[Any, ...]] = select(JobRecord.arguments)
        found = await self._in_time(self._newest(query, since, own, COMPARED))
        return None if found is None else [row[0] or {} for row in found]

    def _newest(
        self, query: Select[*tuple[Any, ...]], since: dt.datetime, own: ColumnElement[bool], most: int
    ) -> Select[*tuple[Any, ...]]:
        mine = query.where(JobRecord.task == self._task, JobRecord.queued_at >= since, own)
        return mine.order_by(JobRecord.queued_at.desc()).limit(most)

    async def _in_time(self, query: Select[*tuple[Any, ...]]) -> list[Any] | None:
        if self._left < 0.001:
            return None
        began = time.perf_counter()
        try:
            return await rows_within(int(self._left * 1000), self._session, query, options=self._options)
        finally:
            self._left -= time.perf_counter() - began
