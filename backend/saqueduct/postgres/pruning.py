"""Pruning: workers look after the partitions of the job records, and delete old ones, while they run jobs."""

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.postgres.audit import AuditLog
from saqueduct.postgres.outbox import DATABASE_AWAY
from saqueduct.postgres.partitions import Partitions
from saqueduct.postgres.retention import Retention
from saqueduct.postgres.time_series import TimeSeries

logger = logging.getLogger("saqueduct")

FIRST = 30.0
"""Seconds after the start of a worker process at which it prunes first."""

EVERY = 600.0
"""Seconds between two searches for records that are old enough. Each process searches; if there are none, that costs
four index reads."""


class Pruner:
    """Deletes job records that are old enough.

    Args:
        sessions: opens a session.
        retention: for how long records are kept.
        partitions: of the records.
        keep_audit_days: days that the audit is kept.
        first, every: seconds before the first search, and between two.
    """

    def __init__(
        self,
        sessions: Callable[[], AsyncSession],
        retention: Retention,
        partitions: Partitions,
        keep_audit_days: int = 365,
        first: float = FIRST,
        every: float = EVERY,
    ) -> None:
        self._sessions = sessions
        self._partitions = partitions
        self._retention = retention
        self._keep_audit_days = keep_audit_days
        self._first, self._every = first, every

    async def run(self) -> None:
        """Prune periodically, until cancelled."""
        await asyncio.sleep(self._first)
        while True:
            await self._look()
            await asyncio.sleep(self._every)

    async def _look(self) -> None:
        try:
            before = await self._partitions.maintain()
            async with self._sessions() as session:
                # Committed batch by batch, so that locks stay short.
                deleted = await self._retention.prune(session, session.commit, before)
                deleted["history"] = await TimeSeries(session).prune(session.commit)
                deleted["audit"] = await AuditLog(session).prune(
                    self._keep_audit_days, session.commit, self._retention.longest
                )
        except DATABASE_AWAY as error:
            logger.warning("could not delete old job records, retrying in %.0f s: %s", self._every, error)
        except Exception:
            logger.exception("could not delete old job records, retrying in %.0f s", self._every)
        else:
            if any(deleted.values()):
                logger.info("old records deleted: %s", deleted)
