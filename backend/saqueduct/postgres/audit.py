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

from saqueduct.broker.batching import Batches
from saqueduct.common.text import storable
from saqueduct.errors import InvalidCursor
from saqueduct.postgres.audit_batches import Action, Target, actions_on, is_about, withdraw, write, write_further
from saqueduct.postgres.audit_filter import AuditFilter
from saqueduct.postgres.base import in_schema
from saqueduct.postgres.models import AuditBatch, AuditRow
from saqueduct.postgres.record_filter import LARGEST_PAGE, PAGE
from saqueduct.postgres.rows import as_jsonb
from saqueduct.queue.audit import MOST_TARGETS, AuditEntry, log_entry

logger = logging.getLogger("saqueduct.audit")

ROWS: Final = 200
"""Most entries of one statement."""

BATCH: Final = 2000
"""Entries that one statement deletes."""

KINDS: Final = ("job", "dead letter", "schedule")
"""Of entries whose targets can be keys of jobs."""


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
        self.added: list[int] = []
        """Ids of the entries that it has written."""

    async def add(self, entry: AuditEntry, at: dt.datetime | None = None) -> int:
        """Write an entry; returns its id. `at` is when the action was asked for, if that was not now."""
        id_ = await _written(self._session, entry, self._options, at)
        self.added.append(id_)
        return id_

    async def count(self, id_: int | None, entry: AuditEntry, done: Sequence[Target]) -> int | None:
        """Add what a batch of an action did to the one entry for all its batches; returns its id.

        Args:
            id_: of the entry; None before the first batch.
            entry: written with the first batch that did something.
            done: the jobs that this batch has changed.
        """
        if not done:
            return id_
        if id_ is None:
            id_ = await self.add(msgspec.structs.replace(entry, count=0))
        await self._count(id_, done)
        return id_

    async def withdraw(self, id_: int | None, dropped: Sequence[Target]) -> None:
        """Take back of an entry of `count` those that turned out to be refused after the commit."""
        if id_ is not None and dropped:
            await withdraw(self._session, id_, dropped, self._options)

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

    async def of_key(
        self, key: str, queue: str | None, since: dt.datetime, enqueued_before: dt.datetime, most: int = PAGE
    ) -> list[Action]:
        """What was done by hand to the jobs of a key, oldest first. Arguments as `actions_on`."""
        query = actions_on(key, queue, since, enqueued_before, KINDS).order_by(AuditRow.id).limit(most)
        rows = (await self._session.execute(query, execution_options=self._options)).all()
        return [Action(*row) for row in rows]

    async def prune(
        self, days: int, after_batch: Callable[[], Awaitable[None]], records_days: int | None = None
    ) -> int:
        """Delete entries that are older; returns how many. A batch at a time, `after_batch` commits it.

        Args:
            days: that the audit is kept.
            after_batch: awaited after each statement.
            records_days: that a record is kept at most: who enqueued a job among many is of no use without it.
        """
        # The targets are as old as their entries, or younger.
        await self._prune(AuditBatch, days, after_batch)
        if records_days is not None and records_days < days:
            await self._prune(AuditBatch, records_days, after_batch, AuditBatch.enqueued)
        return await self._prune(AuditRow, days, after_batch)

    async def _prune(
        self,
        table: type[AuditRow] | type[AuditBatch],
        days: int,
        after_batch: Callable[[], Awaitable[None]],
        *which: Any,
    ) -> int:
        deleted = 0
        while True:
            old = select(table.id).where(table.at < func.now() - dt.timedelta(days=days), *which).order_by(table.at)
            statement = delete(table).where(table.id.in_(old.limit(BATCH)))
            options = {"synchronize_session": False, **self._options}
            gone = (await self._session.execute(statement.returning(table.id), execution_options=options)).all()
            await after_batch()
            deleted += len(gone)
            if len(gone) < BATCH:
                return deleted

    async def _count(self, id_: int, done: Sequence[Target]) -> None:
        values = {"count": func.coalesce(AuditRow.count, 0) + len(done)}
        options = {"synchronize_session": False, **self._options}
        await self._session.execute(
            update(AuditRow).where(AuditRow.id == id_).values(values), execution_options=options
        )
        await write(self._session, id_, done, self._options)


class AuditWriter:
    """Writes the entries of a process: before and after their actions, or only after them, those of the same moment in
    one statement.

    Args:
        transaction: opens one, with a time limit, or with that many seconds.
        schema: of the tables.
        plan: seconds that PostgreSQL has to note an action before it is done.
    """

    def __init__(
        self,
        transaction: Callable[[float | None], AbstractAsyncContextManager[AsyncConnection]],
        schema: str | None,
        plan: float,
    ) -> None:
        self._transaction = transaction
        self._plan_seconds = plan
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

    async def plan(self, entry: AuditEntry) -> int | None:
        """Write an entry before its action, with the count 0; returns its id. None: PostgreSQL does not accept it."""
        try:
            async with self._transaction(self._plan_seconds) as connection:
                return await _written(connection, msgspec.structs.replace(entry, count=0), self._options)
        except Exception as error:
            # An action that fails too says what is wrong; of one that is done the log has the entry.
            logger.info("PostgreSQL does not accept an entry of the audit: %s", error)
            return None

    async def settle(self, id_: int, entry: AuditEntry | None) -> None:
        """Complete an entry after its action; None: there was none, and it is deleted."""
        settling = asyncio.ensure_future(self._settle(id_, entry))
        self._waiting.add(settling)
        settling.add_done_callback(self._waiting.discard)
        # As in `note`.
        await asyncio.shield(settling)

    async def _settle(self, id_: int, entry: AuditEntry | None) -> None:
        mine = AuditRow.id == id_
        statement = (
            delete(AuditRow).where(mine) if entry is None else update(AuditRow).where(mine).values(columns(entry))
        )
        try:
            async with self._transaction(None) as connection:
                await connection.execute(statement, execution_options=self._options)
        except Exception as error:
            logger.warning("entry %d of the audit stays as planned, PostgreSQL does not accept it: %s", id_, error)
            if entry is not None:
                log_entry(entry)

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
            async with self._transaction(None) as connection:
                if few := [columns(entry) for entry in entries if len(entry.targets) <= MOST_TARGETS]:
                    await connection.execute(insert(AuditRow).values(few), execution_options=self._options)
                for entry in entries:
                    if len(entry.targets) > MOST_TARGETS:
                        await _written(connection, entry, self._options)
        except Exception as error:
            # The actions have been done, and their callers must not repeat them.
            logger.warning("the audit is written to the log, PostgreSQL does not accept it: %s", error)
            for entry in entries:
                log_entry(entry)
        return [None] * len(entries)


async def _written(
    connection: AsyncConnection | AsyncSession,
    entry: AuditEntry,
    options: dict[str, Any],
    at: dt.datetime | None = None,
) -> int:
    """Write an entry and the targets that it does not name itself; returns its id."""
    values = columns(entry) if at is None else {**columns(entry), "at": at}
    statement = insert(AuditRow).values(values).returning(AuditRow.id)
    id_ = int((await connection.execute(statement, execution_options=options)).scalar_one())
    await write_further(connection, id_, entry, options)
    return id_


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
        found.append(is_about(which.target))
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
