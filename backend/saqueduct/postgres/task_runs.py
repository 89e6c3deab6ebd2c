"""The newest runs of a task: the slowest of them, and arguments of those that failed."""

import datetime as dt
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.postgres.base import quoted
from saqueduct.postgres.index_order import in_index_order
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.patience import rows_within

SAMPLED: Final = 2_000
"""The newest ended jobs of a task among which the slowest are found."""

COMPARED: Final = 500
"""The newest failed and complete jobs of a task whose arguments are compared."""

_FAILED = """
    SELECT CAST(arguments AS text) FROM {table} WHERE task = :task AND status = 'failed' AND queued_at >= :since
    ORDER BY queued_at DESC LIMIT :compared
"""

_NEWEST = """
    WITH newest AS MATERIALIZED (
        (SELECT {columns} FROM (
            SELECT * FROM {table} WHERE queued_at >= :since AND queued_at >= :indexed
            ORDER BY queued_at DESC LIMIT :searched
        ) AS latest WHERE task = :task ORDER BY queued_at DESC LIMIT :sampled)
        UNION ALL
        (SELECT {columns} FROM {table} WHERE task = :task AND queued_at >= :since AND queued_at < :indexed
            ORDER BY queued_at DESC LIMIT :sampled)
    ), sampled AS (SELECT * FROM newest ORDER BY queued_at DESC LIMIT :sampled)
    (SELECT key, queue, status, queued_at, took, NULL AS arguments FROM sampled
        WHERE took >= interval '0' ORDER BY took DESC LIMIT :slowest)
    UNION ALL
    (SELECT NULL, NULL, NULL, NULL, NULL, CAST(arguments AS text) FROM sampled
        WHERE status = 'complete' ORDER BY queued_at DESC LIMIT :compared)
"""
"""Both from one reading of the newest records of all tasks: while a day lasts, there is no index by task."""

_COLUMNS = "key, queue, status, queued_at, ended_at - started_at AS took, arguments"


class Run(NamedTuple):
    """A job that has ended, or waits for another attempt."""

    key: str
    queue: str
    status: str
    queued_at: dt.datetime
    seconds: float | None
    """Of its last attempt; None: unknown."""


class Runs(NamedTuple):
    """What the newest records of a task say."""

    slowest: Sequence[Run]
    failed: Sequence[dict[str, Any]]
    """Arguments of failed jobs."""
    complete: Sequence[dict[str, Any]]
    """Arguments of complete jobs; empty without failed ones, as there is nothing to compare."""


class TaskRuns:
    """Reads records of one task, a bounded number of them, however many others there are.

    Args:
        session: of the caller, in a transaction.
        task: name of the task.
        schema: of the tables; None: what the `search_path` of the session's connection finds.
        patience: seconds that all searches together may take: a page without them is better than a slow one.
        searched: newest records of all tasks that are read where no index finds those of one.
    """

    def __init__(
        self, session: AsyncSession, task: str, schema: str | None = None, *, patience: float, searched: int
    ) -> None:
        self._session = session
        self._task = task
        self._table = quoted(JobRecord.__tablename__, schema)
        self._left = patience
        self._searched = searched

    async def read(self, since: dt.datetime, indexed: dt.datetime, most: int) -> Runs | None:
        """The slowest of the SAMPLED newest jobs since then, and arguments of COMPARED; None: it takes too long.

        Args:
            since: time of enqueue.
            indexed: end of the days whose records have an index by task.
            most: of the slowest.
        """
        async with in_index_order(self._session):
            return await self._read(since, indexed, most)

    async def _read(self, since: dt.datetime, indexed: dt.datetime, most: int) -> Runs | None:
        values = {"task": self._task, "since": since}
        failed = await self._rows(_FAILED, {**values, "compared": COMPARED})
        if failed is None:
            return None
        limits = {"searched": self._searched, "sampled": SAMPLED, "slowest": most}
        rows = await self._rows(
            _NEWEST, {**values, **limits, "indexed": indexed, "compared": COMPARED if failed else 0}
        )
        if rows is None:
            return None
        slowest = [Run(key, queue, status, at, took.total_seconds()) for key, queue, status, at, took, _ in rows if key]
        complete = [_decoded(row[-1]) for row in rows if row[0] is None]
        return Runs(slowest, [_decoded(arguments) for (arguments,) in failed], complete)

    async def _rows(self, query: str, values: dict[str, Any]) -> list[Any] | None:
        if self._left < 0.001:
            return None
        statement, began = text(query.format(table=self._table, columns=_COLUMNS)), time.perf_counter()
        try:
            return await rows_within(int(self._left * 1000), self._session, statement, values)
        finally:
            self._left -= time.perf_counter() - began


def _decoded(arguments: str | None) -> dict[str, Any]:
    return {} if arguments is None else msgspec.json.decode(arguments, type=dict[str, Any])
