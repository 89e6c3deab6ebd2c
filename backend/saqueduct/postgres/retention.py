"""Retention: old job records are deleted, a few at a time."""

import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable

from sqlalchemy import DateTime, delete, func, literal, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.postgres.base import in_schema
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.record_places import PLACE


@dataclasses.dataclass(frozen=True, slots=True)
class Retention:
    """Days for which records are kept after the job's end, by status.

    The record of a job that waits for another attempt is deleted like a failed one of its age: either Redis has
    forgotten the job, or its record is written again when it ends. `schema` is that of the tables; one statement
    deletes `batch_size` records.
    """

    complete: int = 7
    aborted: int = 30
    failed: int = 90
    schema: str | None = None
    batch_size: int = 2000

    async def prune(
        self,
        session: AsyncSession,
        after_batch: Callable[[], Awaitable[None]],
        complete_before: dt.datetime | None = None,
    ) -> dict[str, int]:
        """Delete records that are old enough; returns how many by status.

        Args:
            session: of the caller.
            after_batch: awaited after each statement; a job commits there, so that locks are held briefly.
            complete_before: complete records enqueued then or later are left: they are dropped with their partition.
        """
        deleted = {}
        for status, days in self._days.items():
            before = complete_before if status == "complete" else None
            deleted[status] = await self._prune(session, status, days, after_batch, before)
        return deleted

    async def _prune(
        self,
        session: AsyncSession,
        status: str,
        days: int,
        after_batch: Callable[[], Awaitable[None]],
        before: dt.datetime | None,
    ) -> int:
        known = literal(status, literal_execute=True)
        old = func.now() - dt.timedelta(days=days)
        ended = literal_column(_ENDED, DateTime(timezone=True))
        # These two use the index and leave out partitions; jobs that were enqueued long before they ended are skipped.
        aged = [JobRecord.queued_at < old, *([] if before is None else [JobRecord.queued_at < before])]
        conditions = [JobRecord.status == known, *aged, ended < old]
        options = {"synchronize_session": False, **in_schema(self.schema)}
        deleted = 0
        after: tuple[dt.datetime, str, str] | None = None
        while True:
            # Each batch begins where the last one ended, so that records of other statuses are skipped only once.
            further = [] if after is None else [tuple_(*PLACE) >= tuple_(*after)]
            batch = select(*PLACE).where(*conditions, *further).order_by(*PLACE).limit(self.batch_size).cte()
            statement = delete(JobRecord).where(*aged, tuple_(*PLACE).in_(select(batch)))
            gone = (await session.execute(statement.returning(*PLACE), execution_options=options)).all()
            await after_batch()
            deleted += len(gone)
            if len(gone) < self.batch_size:
                return deleted
            after = max((row[0], row[1], row[2]) for row in gone)

    @property
    def _days(self) -> dict[str, int]:
        return {"complete": self.complete, "aborted": self.aborted, "failed": self.failed, "queued": self.failed}

    @property
    def longest(self) -> int:
        """Days after which no record is kept."""
        return max(self._days.values())

    @property
    def expired(self) -> str:
        """What `prune` deletes, as a condition in SQL."""
        days = " ".join(f"WHEN '{status}' THEN {days}" for status, days in self._days.items())
        return f"greatest(queued_at, {_ENDED}) < now() - make_interval(days => CASE status {days} END)"


# For a job that waits for another attempt, the end of the last one.
_ENDED = """coalesce(ended_at, to_timestamp(CAST(errors -> -1 ->> 'ended' AS double precision) / 1000),
    timestamptz 'epoch')"""
