"""The last runs of schedules, in the job records."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.postgres.base import quoted
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.patience import rows_within
from saqueduct.postgres.task_runs import Run

SEARCHED: Final = 2_000
"""The newest jobs of a task among which those of its schedule are found: a task may be enqueued by others too."""

PATIENCE: Final = 300
"""Milliseconds that the search may take."""


_QUERY = """
    SELECT wanted.schedule, run.key, run.queue, run.status, run.queued_at, run.took
    FROM unnest(CAST(:schedules AS text[]), CAST(:tasks AS text[])) AS wanted(schedule, task)
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT schedule, key, queue, status, queued_at, ended_at - started_at AS took FROM {table}
            WHERE task = wanted.task ORDER BY queued_at DESC LIMIT :searched
        ) AS newest
        WHERE newest.schedule = wanted.schedule ORDER BY newest.queued_at DESC LIMIT :most
    ) AS run
"""


async def last_runs(
    session: AsyncSession, tasks: Mapping[str, str], most: int, schema: str | None = None
) -> dict[str, list[Run]] | None:
    """The last runs of some schedules, newest first; None: that takes longer than PATIENCE.

    Args:
        session: of the caller, in a transaction.
        tasks: the task of each schedule, by the schedule's key.
        most: runs of a schedule.
        schema: of the tables; None: what the `search_path` of the session's connection finds.
    """
    query = text(_QUERY.format(table=quoted(JobRecord.__tablename__, schema)))
    values = {"schedules": list(tasks), "tasks": list(tasks.values()), "searched": SEARCHED, "most": most}
    runs: dict[str, list[Run]] = {key: [] for key in tasks}
    rows = await rows_within(PATIENCE, session, query, values)
    if rows is None:
        return None
    for schedule, key, queue, status, queued_at, took in rows:
        runs[schedule].append(Run(key, queue, status, queued_at, None if took is None else took.total_seconds()))
    return runs
