"""The audit of a job that changes many others: the entry of its action, and the jobs that it changes.

A change in Redis and its note in PostgreSQL are no one transaction. The note is therefore written twice: before a batch
is changed, as planned, and after it, as done. A worker that is killed in between leaves nothing unnamed, and what was
only planned is not said to be done.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from saq import Job
from sqlalchemy import and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.common.moments import moment_at
from saqueduct.postgres.audit import AuditLog
from saqueduct.postgres.audit_batches import Target, rows_of, withdraw, write
from saqueduct.postgres.base import in_schema
from saqueduct.postgres.models import AuditBatch, AuditRow
from saqueduct.queue.audit import AuditEntry

SKEW: Final = dt.timedelta(days=1)
"""By how much the clocks of a producer and of PostgreSQL may differ: what is earlier is of an older job of the key."""


class Entry(NamedTuple):
    """What is needed of an entry."""

    id: int
    at: dt.datetime
    changed: int | None


class JobAudit:
    """Notes what one job changes, in the transaction of a session.

    Args:
        session: flushed, never committed.
        schema: of the tables; None: what the connection finds.
        action: written as the entry where the job was enqueued like any other, and not by the console or a route for
            its action; its target is the job.
        job: that changes them.
    """

    def __init__(self, session: AsyncSession, schema: str | None, action: AuditEntry, job: Job) -> None:
        self._session = session
        self._schema = schema
        self._options = in_schema(schema)
        self._action = action
        self._asked_at = moment_at(job.queued)
        self._found: Entry | None = None

    async def counted(self) -> int:
        """What the job has changed so far, in all its attempts."""
        return (await self._entry()).changed or 0

    async def count(self, done: Sequence[Target]) -> None:
        """Add jobs that were changed in this transaction."""
        if not done:
            return
        entry = await self._entry()
        values = {"count": func.coalesce(AuditRow.count, 0) + len(done)}
        statement = update(AuditRow).where(AuditRow.id == entry.id).values(values)
        options = {"synchronize_session": False, **self._options}
        await self._session.execute(statement, execution_options=options)
        await write(self._session, entry.id, done, self._options)

    async def withdraw(self, dropped: Sequence[Target]) -> None:
        """Count jobs no longer that were not changed after all."""
        if dropped:
            await withdraw(self._session, (await self._entry()).id, dropped, self._options)

    async def plan(self, targets: Iterable[Target]) -> list[int]:
        """Note jobs before they are changed; returns what `settle` needs. Commit it before the change."""
        same = {"entry": (await self._entry()).id, "enqueued": False, "done": False}
        if not (rows := [{**same, "queue": queue, "targets": keys} for queue, keys in rows_of(targets)]):
            return []
        statement = insert(AuditBatch).values(rows).returning(AuditBatch.id)
        return list((await self._session.scalars(statement, execution_options=self._options)).all())

    async def settle(self, plans: Sequence[int], done: Sequence[Target], unknown: Sequence[Target] = ()) -> bool:
        """Note what became of planned changes. False: another attempt of the job has done that already.

        Args:
            plans: of `plan`, or `planned`.
            done: jobs that were changed.
            unknown: those of which it is not known: they stay planned.
        """
        if plans:
            statement = delete(AuditBatch).where(AuditBatch.id.in_(plans)).returning(AuditBatch.id)
            options = {"synchronize_session": False, **self._options}
            if not (await self._session.scalars(statement, execution_options=options)).all():
                return False
        await self.plan(unknown)
        await self.count(done)
        return True

    async def planned(self) -> tuple[list[int], list[Target]]:
        """What an earlier attempt has planned and not settled: for `settle`, and the jobs."""
        entry = await self._entry()
        # By the time, which has an index: the entry is older than its batches.
        open_ = (AuditBatch.entry == entry.id, ~AuditBatch.done, AuditBatch.at >= entry.at - SKEW)
        rows = (await self._session.scalars(select(AuditBatch).where(*open_), execution_options=self._options)).all()
        return [row.id for row in rows], [Target(key, row.queue) for row in rows for key in row.targets]

    async def _entry(self) -> Entry:
        """The entry with which the job was asked for; otherwise its own, which is written now."""
        if self._found is None:
            self._found = await self._asked()
        if self._found is None:
            await AuditLog(self._session, self._schema).add(self._action, self._asked_at)
            self._found = await self._asked()
        assert self._found is not None  # noqa: S101
        return self._found

    async def _asked(self) -> Entry | None:
        key = self._action.targets
        # The second condition has an index. Other actions on this job have another name, or no filter.
        mine = (AuditRow.targets == key) & AuditRow.targets.contains(key)
        action = (AuditRow.action == self._action.action) & (func.jsonb_typeof(AuditRow.filter) == "object")
        # An earlier job may have had the key.
        own = AuditRow.surface == self._action.surface
        asked = or_(and_(own, AuditRow.at == self._asked_at), and_(~own, AuditRow.at >= self._asked_at - SKEW))
        query = select(AuditRow.id, AuditRow.at, AuditRow.count).where(mine, action, asked).order_by(AuditRow.id)
        found = (await self._session.execute(query.limit(1), execution_options=self._options)).first()
        return None if found is None else Entry(*found)
