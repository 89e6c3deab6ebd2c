"""The upkeep of the partitions of `job_records`: workers begin new ones, index closed ones, and drop old ones.

Writers never need it: the last partition has no upper bound. Each step is a transaction that takes its locks on the
whole table for well under a second, or gives up and is tried again at the next turn.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct.postgres.base import quoted
from saqueduct.postgres.compaction import BRIEF, PATIENT, Compaction
from saqueduct.postgres.engine import own_connection
from saqueduct.postgres.outage import DEADLOCK, LOCK_NOT_AVAILABLE, sqlstate_of
from saqueduct.postgres.partition_layout import (
    BEFORE,
    EVERYWHERE,
    PARENT,
    SEARCH,
    Layout,
    Partition,
    bounds,
    midnight,
    name_at,
    read,
)
from saqueduct.postgres.retention import Retention

logger = logging.getLogger("saqueduct")

AHEAD = dt.timedelta(days=2)
"""How long before their time partitions begin. A process whose clock is wrong by less writes to the right one."""

CLOSED = dt.timedelta(minutes=5)
"""How long after its end a partition counts as closed: records follow their jobs."""

SMALL = 64 * 1024 * 1024

TRIES = 10
"""How often a step is tried."""

READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
"""Each statement sees what others have committed; the engine may have another level."""

LOCK = 5721042
"""Key of the advisory lock: one process at a time."""


class Partitions:
    """Looks after the partitions.

    Args:
        engine: the store's own connections.
        retention: for how long records are kept.
        schema: of the tables.
        pgbouncer: True behind a PgBouncer that pools transactions.
        pause: seconds before a step is tried again that got no lock.
        small: bytes of a table that PostgreSQL reads in a fraction of a second, under a lock.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        retention: Retention,
        schema: str | None = None,
        *,
        pgbouncer: bool = False,
        pause: float = 1.0,
        small: int = SMALL,
    ) -> None:
        self._engine = engine
        self._retention = retention
        self._schema = schema
        self._pgbouncer = pgbouncer
        self._pause = pause
        self._small = small
        self._reported = False

    async def maintain(self) -> dt.datetime | None:
        """Begin partitions, index closed ones, and replace old ones by their kept records.

        Returns:
            The time before which complete records are to be deleted one by one; None: all that are old enough, because
            there are no partitions, or this role may not change them.
        """
        async with self._alone() as alone:
            layout = await self._layout()
            if not alone or not self._permitted(layout):
                return _deleted_before(layout) if layout.owner is not None else None
            await self._fill(layout)
            await self._extend()
            await self._reduce()
            await self._absorb()
            await self._index()
            return _deleted_before(await self._layout())

    async def fill(self) -> None:
        """Make partitions for times that have none: some were dropped or detached by hand."""
        layout = await self._layout()
        if self._permitted(layout):
            await self._fill(layout)

    def _permitted(self, layout: Layout) -> bool:
        if layout.owner is None and not self._reported:
            self._reported = True
            logger.warning(
                "old job records are deleted row by row: the partitions of %s can be changed only by its owner, or a "
                "role with the owner's rights",
                PARENT,
            )
        return layout.owner is not None and bool(layout.partitions)

    async def _layout(self) -> Layout:
        async with self._engine.begin() as connection:
            return await read(connection, self._schema)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[bool]:
        """True while no other process looks after the partitions.

        A transaction that waits without a snapshot holds up neither VACUUM nor CREATE INDEX CONCURRENTLY, and keeps its
        lock behind a PgBouncer too.
        """
        async with self._engine.begin() as guard:
            await guard.exec_driver_sql(READ_COMMITTED)
            query = text("SELECT pg_try_advisory_xact_lock(:lock, hashtext(:table))")
            alone = await guard.scalar(query, {"lock": LOCK, "table": quoted(PARENT, self._schema)})
            # A query without parameters: the one before has its snapshot until the next.
            raw: Any = (await guard.get_raw_connection()).driver_connection
            await raw.execute("SELECT 1")
            yield bool(alone)

    async def _step(self, layout: Layout, *statements: str, wait: str = BRIEF) -> None:
        """A transaction as the owner, so that all partitions belong to the same role.

        Another one may hold the table for longer than this one may make others wait: then it is tried again.
        """
        limits = (f"SET LOCAL lock_timeout = '{wait}'", "SET LOCAL statement_timeout = 0")
        for left in reversed(range(TRIES)):
            try:
                async with self._engine.begin() as connection:
                    for statement in (READ_COMMITTED, f"SET LOCAL ROLE {layout.owner}", *limits, *statements):
                        await connection.exec_driver_sql(statement)
                return
            except DBAPIError as error:
                if not left or sqlstate_of(error) not in (LOCK_NOT_AVAILABLE, DEADLOCK):
                    raise
            await asyncio.sleep(self._pause)

    async def _fill(self, layout: Layout) -> None:
        ends = [None, *(each.end for each in layout.partitions)]
        starts = [*(each.start for each in layout.partitions), None]
        for number, (end, start) in enumerate(zip(ends, starts, strict=True)):
            edge = number in (0, len(layout.partitions))
            if start == end if not edge else start is None and end is None:
                continue
            new = layout.quoted(f"{name_at(end)}_again")
            await self._step(layout, f"CREATE TABLE {new} PARTITION OF {layout.parent} {bounds(end, start)}")
            logger.warning("job records from %s to %s had no partition: %s was created", end, start, new)

    async def _extend(self) -> None:
        while True:
            layout = await self._layout()
            last = layout.partitions[-1]
            if last.start is not None and last.start >= layout.now + AHEAD:
                return
            day = dt.timedelta(days=1)
            ahead = last.start is not None and last.start > layout.now
            at = last.start + day if ahead and last.start is not None else midnight(layout.now) + AHEAD
            if last.size > self._small:
                await self._constrain(layout, last, at)
            await self._split(layout, last, at)

    async def _constrain(self, layout: Layout, last: Partition, at: dt.datetime) -> None:
        """Check beforehand that a large partition has no later records, without a lock that others wait for."""
        table = layout.quoted(last.name)
        async with self._engine.begin() as connection:
            if (await connection.exec_driver_sql(f"{_since(table, at)} LIMIT 1")).first() is not None:
                # Enqueued by a process whose clock is wrong: PostgreSQL reads the table when it is split.
                return
        await self._step(layout, f"ALTER TABLE {table} SET (autovacuum_enabled = false)", wait=PATIENT)
        await self._step(
            layout,
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {BEFORE}",
            f"ALTER TABLE {table} ADD CONSTRAINT {BEFORE} CHECK (queued_at < '{at.isoformat()}') NOT VALID",
        )
        await self._step(layout, f"ALTER TABLE {table} VALIDATE CONSTRAINT {BEFORE}", wait=PATIENT)

    async def _split(self, layout: Layout, last: Partition, at: dt.datetime) -> None:
        """Give the last partition an upper bound, and begin a new last one there."""
        parent, table, new = layout.parent, layout.quoted(last.name), layout.quoted(name_at(at))
        await self._step(
            layout,
            f"LOCK TABLE ONLY {parent} IN ACCESS EXCLUSIVE MODE",
            f"CREATE TABLE {new} (LIKE {parent} INCLUDING ALL)",
            f"INSERT INTO {new} {_since(parent, at)}",
            f"DELETE FROM {table} WHERE queued_at >= '{at.isoformat()}'",  # noqa: S608  (a quoted name)
            f"ALTER TABLE {parent} DETACH PARTITION {table}",
            f"ALTER TABLE {parent} ATTACH PARTITION {table} {bounds(last.start, at)}",
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {BEFORE}",
            f"ALTER TABLE {table} RESET (autovacuum_enabled)",
            f"ALTER TABLE {parent} ATTACH PARTITION {new} {bounds(at, None)}",
        )

    async def _index(self) -> None:
        """Create the indexes that partitions lack, while others write to them; those for searches on closed ones."""
        layout = await self._layout()
        for partition in layout.partitions:
            is_open = partition.end is None or partition.end > layout.now - CLOSED
            for suffix, definition in (EVERYWHERE if is_open else EVERYWHERE | SEARCH).items():
                name = f"{partition.name}_{suffix}"
                if not partition.indexes.get(name):
                    await self._create_index(layout, partition, name, definition)

    async def _create_index(self, layout: Layout, partition: Partition, name: str, definition: str) -> None:
        """On a connection of its own: the statement allows no transaction, and waits for those of others."""
        connection = await own_connection(self._engine)
        try:
            if not self._pgbouncer:
                await connection.execute("SET lock_timeout = 0; SET statement_timeout = 0")
            if name in partition.indexes:
                # A process died while it created it.
                await connection.execute(f"DROP INDEX CONCURRENTLY {layout.quoted(name)}")
            await connection.execute(
                f"CREATE INDEX CONCURRENTLY {name} ON {layout.quoted(partition.name)} {definition}"
            )
        except BaseException:
            # The process may be ending, and the statement still run.
            connection.terminate()
            raise
        await connection.close()

    async def _reduce(self) -> None:
        """Replace partitions whose complete records are old enough by tables of what is kept longer."""
        layout = await self._layout()
        old = layout.now - dt.timedelta(days=self._retention.complete)
        for partition in layout.partitions:
            if partition.end is None or partition.end > old or partition.kept:
                continue
            for wait, statements in Compaction(layout, partition, self._retention).steps:
                await self._step(layout, *statements, wait=wait)
            logger.info("job records from %s to %s: only those that are kept are left", partition.start, partition.end)

    async def _absorb(self) -> None:
        """Let the first partition take the place of those whose days are over for all records."""
        layout = await self._layout()
        old = layout.now - dt.timedelta(days=self._retention.longest)
        first = layout.partitions[0]
        parent, place = layout.parent, layout.quoted(first.name)
        for each in layout.partitions[1:]:
            if not (first.kept and each.kept) or each.end is None or each.end > old:
                return
            if first.size + each.size > self._small:
                return
            table = layout.quoted(each.name)
            await self._step(
                layout,
                f"LOCK TABLE ONLY {parent} IN ACCESS EXCLUSIVE MODE",
                f"ALTER TABLE {parent} DETACH PARTITION {place}",
                f"ALTER TABLE {parent} DETACH PARTITION {table}",
                f"INSERT INTO {place} SELECT * FROM {table}",  # noqa: S608
                f"DROP TABLE {table}",
                f"ALTER TABLE {parent} ATTACH PARTITION {place} {bounds(None, each.end)}",
            )


def _since(table: str, at: dt.datetime) -> str:
    return f"SELECT * FROM {table} WHERE queued_at >= '{at.isoformat()}'"  # noqa: S608


def _deleted_before(layout: Layout) -> dt.datetime | None:
    """Those of the first partition, and of partitions that have only kept records, are deleted one by one."""
    return next((each.start for each in layout.partitions if each.start is not None and not each.kept), None)
