"""The audit in PostgreSQL: written, listed and pruned."""

import asyncio
import base64
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import aliased

from saqueduct.broker.batching import Batches
from saqueduct.common.text import storable
from saqueduct.errors import InvalidCursor
from saqueduct.postgres.audit_filter import AuditFilter
from saqueduct.postgres.base import in_schema
from saqueduct.postgres.models import AuditRow
from saqueduct.postgres.record_filter import LARGEST_PAGE, PAGE
from saqueduct.postgres.rows import as_jsonb
from saqueduct.queue.audit import MOST_TARGETS, AuditEntry, log_entry

logger = logging.getLogger("saqueduct.audit")

ROWS: Final = 200
"""Most entries of one statement."""

BATCH: Final = 2000
"""Entries that one statement deletes."""


class AuditPage(NamedTuple):
    """Some entries, newest first, and where the next page begins (None: there is none)."""

    rows: Sequence[AuditRow]
    cursor: str | None


class AuditLog:
    """Writes and reads entries in the transaction of a session.

    Args:
        session: flushed, never committed.
        schema: of the tables; None: what the `search_path` of the session's connection finds.
    """

    def __init__(self, session: AsyncSession, schema: str | None = None) -> None:
        self._session = session
        self._options = in_schema(schema)

    async def add(self, entry: AuditEntry) -> int:
        """Write an entry; returns its id."""
        statement = insert(AuditRow).values(columns(entry)).returning(AuditRow.id)
        return int((await self._session.execute(statement, execution_options=self._options)).scalar_one())

    async def count(self, id_: int | None, entry: AuditEntry, more: int) -> int | None:
        """Count what a batch of an action did, in one entry for all its batches; returns its id.

        Args:
            id_: of the entry; None before the first batch.
            entry: written with the first batch that did something.
            more: what this batch did.
        """
        if id_ is None:
            return await self.add(msgspec.structs.replace(entry, count=more)) if more else None
        await self._update(AuditRow.id == id_, more)
        return id_

    async def count_of_job(self, key: str, more: int) -> None:
        """Count what a batch of a job did that was asked for with an entry."""
        if more:
            await self._update(_of_job(key), more)

    async def counted_by_job(self, key: str) -> int:
        """What the batches of a job have done so far; 0: nothing, or no entry asked for the job."""
        query = select(AuditRow.count).where(_of_job(key)).limit(1)
        return await self._session.scalar(query, execution_options=self._options) or 0

    async def page(self, which: AuditFilter, cursor: str | None = None, limit: int = PAGE) -> AuditPage:
        """A page of entries, newest first.

        Raises:
            InvalidCursor: the cursor was not returned by this method.
        """
        limit = max(1, min(limit, LARGEST_PAGE))
        query = select(AuditRow).where(*_conditions(which))
        if cursor is not None:
            query = query.where(AuditRow.id < _decoded(cursor))
        query = query.order_by(AuditRow.id.desc()).limit(limit + 1)
        rows = (await self._session.scalars(query, execution_options=self._options)).all()
        return AuditPage(rows[:limit], _encoded(rows[limit - 1].id) if len(rows) > limit else None)

    async def of_key(self, key: str, since: dt.datetime, most: int = PAGE) -> Sequence[AuditRow]:
        """What was done by hand to the jobs of a key since a time, oldest first."""
        mine = AuditRow.targets.contains([storable(key)]) & AuditRow.kind.in_(("job", "dead letter", "schedule"))
        # Found by the index of the targets: ordered at once, the whole table might be read in its order.
        found = select(AuditRow).where(mine, AuditRow.at >= since).cte("found").prefix_with("MATERIALIZED")
        row = aliased(AuditRow, found)
        query = select(row).order_by(row.id).limit(most)
        return (await self._session.scalars(query, execution_options=self._options)).all()

    async def prune(self, days: int, after_batch: Callable[[], Awaitable[None]]) -> int:
        """Delete entries that are older; returns how many. A batch at a time, `after_batch` commits it."""
        deleted = 0
        while True:
            old = select(AuditRow.id).where(AuditRow.at < func.now() - dt.timedelta(days=days)).order_by(AuditRow.at)
            statement = delete(AuditRow).where(AuditRow.id.in_(old.limit(BATCH)))
            options = {"synchronize_session": False, **self._options}
            gone = (await self._session.execute(statement.returning(AuditRow.id), execution_options=options)).all()
            await after_batch()
            deleted += len(gone)
            if len(gone) < BATCH:
                return deleted

    async def _update(self, which: Any, more: int) -> None:
        values = {"count": func.coalesce(AuditRow.count, 0) + more}
        options = {"synchronize_session": False, **self._options}
        await self._session.execute(update(AuditRow).where(which).values(values), execution_options=options)


def _of_job(key: str) -> Any:
    # The second condition has an index.
    return (AuditRow.targets == [key]) & AuditRow.targets.contains([key])


class AuditWriter:
    """Writes the entries of a process after their actions, those of the same moment in one statement.

    Args:
        transaction: opens one, with a time limit.
        schema: of the tables.
    """

    def __init__(
        self, transaction: Callable[[], AbstractAsyncContextManager[AsyncConnection]], schema: str | None
    ) -> None:
        self._transaction = transaction
        self._options = in_schema(schema)
        self._batches: Batches[AuditEntry, None] = Batches(self._send, ROWS)
        self._waiting: set[asyncio.Future[None]] = set()

    async def note(self, entry: AuditEntry) -> None:
        """See `Audit.note`."""
        # The entry is written also if its caller is cancelled: the action has been done.
        await asyncio.shield(self._add(entry))

    def note_soon(self, entry: AuditEntry) -> None:
        """See `Audit.note_soon`."""
        self._add(entry)

    async def flush(self, seconds: float) -> None:
        """Write what waits, for at most so long."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=seconds)

    def _add(self, entry: AuditEntry) -> asyncio.Future[None]:
        future = self._batches.add(entry)
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    async def _send(self, entries: Sequence[AuditEntry]) -> Sequence[None]:
        try:
            async with self._transaction() as connection:
                statement = insert(AuditRow).values([columns(entry) for entry in entries])
                await connection.execute(statement, execution_options=self._options)
        except Exception as error:
            # The actions have been done, and their callers must not repeat them.
            logger.warning("the audit is written to the log, PostgreSQL does not accept it: %s", error)
            for entry in entries:
                log_entry(entry)
        return [None] * len(entries)


def columns(entry: AuditEntry) -> dict[str, Any]:
    """An entry as PostgreSQL can keep it."""
    found = msgspec.structs.asdict(entry)
    for name, value in found.items():
        if isinstance(value, str):
            found[name] = storable(value)
    found["targets"] = [storable(target) for target in entry.targets[:MOST_TARGETS]]
    if entry.filter is not None:
        found["filter"] = msgspec.json.decode(as_jsonb(msgspec.to_builtins(entry.filter, enc_hook=str)))
    return found


def _conditions(which: AuditFilter) -> list[Any]:
    given = {name: getattr(which, name) for name in ("person", "action", "kind", "surface")}
    found: list[Any] = [
        getattr(AuditRow, name) == storable(value) for name, value in given.items() if value is not None
    ]
    if which.target is not None:
        found.append(AuditRow.targets.contains([storable(which.target)]))
    if which.since is not None:
        found.append(AuditRow.at >= which.since)
    if which.until is not None:
        found.append(AuditRow.at < which.until)
    return found


def _encoded(id_: int) -> str:
    return base64.urlsafe_b64encode(str(id_).encode()).decode().rstrip("=")


def _decoded(cursor: str) -> int:
    try:
        id_ = int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        raise InvalidCursor(cursor) from None
    if not 0 < id_ < 2**63:
        raise InvalidCursor(cursor)
    return id_
