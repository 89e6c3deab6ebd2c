"""The last runs of schedules, in the job records."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.postgres.base import quoted
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.patience import rows_within
from saqueduct.postgres.task_runs import Run

_QUERY = """
    SELECT wanted.schedule, run.key, run.queue, run.status, run.queued_at, run.took
    FROM unnest(CAST(:schedules AS text[])) AS wanted(schedule)
    CROSS JOIN LATERAL (
        SELECT key, queue, status, queued_at, ended_at - started_at AS took FROM {table}
        WHERE schedule = wanted.schedule ORDER BY queued_at DESC LIMIT :most
    ) AS run
"""


async def last_runs(
    session: AsyncSession, schedules: Sequence[str], most: int, schema: str | None = None, *, patience: float
) -> dict[str, list[Run]] | None:
    """The last runs of some schedules, newest first; None: that takes longer than `patience`.

    Args:
        session: of the caller, in a transaction.
        schedules: their keys.
        most: runs of a schedule.
        schema: of the tables; None: what the `search_path` of the session's connection finds.
        patience: seconds that the search may take.
    """
    query = text(_QUERY.format(table=quoted(JobRecord.__tablename__, schema)))
    values = {"schedules": list(schedules), "most": most}
    runs: dict[str, list[Run]] = {key: [] for key in schedules}
    rows = await rows_within(round(patience * 1000), session, query, values)
    if rows is None:
        return None
    for schedule, key, queue, status, queued_at, took in rows:
        runs[schedule].append(Run(key, queue, status, queued_at, None if took is None else took.total_seconds()))
    return runs
