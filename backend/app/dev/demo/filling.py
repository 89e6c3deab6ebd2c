"""Fills a running application, and takes away what it has written."""

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import delete, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.dev.demo.past import MINUTE, PREFIX, TAG, Past, numbers_of, week_of
from saqueduct import Saqueduct
from saqueduct.errors import NoJobRecords
from saqueduct.postgres.audit import columns
from saqueduct.postgres.base import in_schema
from saqueduct.postgres.models import AuditRow, HistoryRow, JobRecord
from saqueduct.postgres.records import Rows
from saqueduct.postgres.rows import Row
from saqueduct.postgres.time_series import COUNTS, Numbers, Place, add
from saqueduct.queue.audit import AuditEntry

AT_ONCE: Final = 2000
"""Rows of one statement."""

PEOPLE: Final = ("ada", "grace", "linus")

ABORTED: Final = 30
"""Aborted jobs of which the audit says who did it."""

ADDRESS: Final = "demo"
"""Address of the entries of the audit, by which they are taken away again."""

_HAS_TABLE = text("SELECT to_regclass('demo_history') IS NOT NULL")
_MAKE_TABLE = text("CREATE TABLE demo_history (numbers jsonb NOT NULL)")
_DROP_TABLE = text("DROP TABLE demo_history")
_KEEP = text("INSERT INTO demo_history VALUES (CAST(:numbers AS jsonb))")
_KEPT = text("SELECT numbers::text FROM demo_history")


class Filled(NamedTuple):
    """How many rows were written or taken away."""

    records: int
    failed: int
    history: int


async def fill(saqueduct: Saqueduct, seed: int, hours: int = 24) -> Filled:
    """Write the past of the demo, in place of what an earlier call has written.

    Args:
        saqueduct: of the application.
        seed: see `Past`.
        hours: of records.

    Raises:
        NoJobRecords: there is no PostgreSQL.
    """
    if saqueduct.store is None:
        raise NoJobRecords
    rows = rows_of(saqueduct, seed, hours)
    history = week_of(numbers_of(rows), seed)
    writer = Rows(saqueduct.registry, schema=saqueduct.store.schema)
    async with saqueduct.store.sessions.begin() as session:
        connection = await session.connection()
        await _remove(connection, saqueduct.store.schema)
        for first in range(0, len(rows), AT_ONCE):
            await writer.write(connection, rows[first : first + AT_ONCE], copy=False)
        await add(connection, history, saqueduct.store.schema)
        await _add_audit(connection, rows, saqueduct.store.schema)
        await connection.execute(_MAKE_TABLE)
        await connection.execute(_KEEP, {"numbers": msgspec.json.encode(list(history.items())).decode()})
    return Filled(len(rows), sum(row.status == "failed" for row in rows), len(history))


def rows_of(saqueduct: Saqueduct, seed: int, hours: int, until: int | None = None) -> list[Row]:
    """The job records of the hours before `until`, in epoch seconds, which is now by default."""
    until = int(time.time()) // MINUTE * MINUTE if until is None else until
    return Past(seed, until, hours).rows(saqueduct.registry.get_all_tasks(), ZoneInfo(saqueduct.config.cron_timezone))


async def remove(saqueduct: Saqueduct) -> Filled:
    """Take away the records of all jobs of the demo, and its part of the history.

    Raises:
        NoJobRecords: there is no PostgreSQL.
    """
    if saqueduct.store is None:
        raise NoJobRecords
    async with saqueduct.store.sessions.begin() as session:
        return await _remove(await session.connection(), saqueduct.store.schema)


async def _add_audit(connection: AsyncConnection, rows: Sequence[Row], schema: str | None) -> None:
    """Who has aborted the jobs of the demo that were aborted."""
    # In the order of time, which is that of the list.
    aborted = sorted((row for row in rows if row.status == "aborted"), key=lambda row: row.ended or 0)
    for number, row in enumerate(aborted[-ABORTED:]):
        person = PEOPLE[number % len(PEOPLE)]
        entry = AuditEntry(
            person=person, role="operator", action="abort", kind="job", targets=[row.key], task=row.task,
            queue=row.queue, why="no longer needed", surface="console", address=ADDRESS,
        )  # fmt: skip
        at = dt.datetime.fromtimestamp(row.ended / 1000, dt.UTC)
        await connection.execute(insert(AuditRow).values(at=at, **columns(entry)), execution_options=in_schema(schema))


async def _remove(connection: AsyncConnection, schema: str | None) -> Filled:
    mine = JobRecord.tags.contains([TAG]) & JobRecord.key.startswith(PREFIX)
    # What jobs of the demo have enqueued has no tag.
    theirs = JobRecord.parent.startswith(PREFIX) & JobRecord.key.startswith(JobRecord.parent)
    gone = (await connection.execute(delete(JobRecord).where(mine | theirs).returning(JobRecord.status))).scalars()
    statuses = gone.all()
    await connection.execute(delete(AuditRow).where(AuditRow.address == ADDRESS))
    numbers = await _kept(connection)
    if numbers:
        # Real jobs of the same minutes, hours and days are counted in the same rows.
        await add(connection, {place: Numbers.none().plus(each, -1) for place, each in numbers.items()}, schema)
        empty = [getattr(HistoryRow, name) <= 0 for name in COUNTS]
        await connection.execute(delete(HistoryRow).where(*empty))
    return Filled(len(statuses), statuses.count("failed"), len(numbers))


async def _kept(connection: AsyncConnection) -> Mapping[Place, Numbers]:
    """What the last `fill` has added to the history; forgotten with this call."""
    if not (await connection.execute(_HAS_TABLE)).scalar_one():
        return {}
    encoded = (await connection.execute(_KEPT)).scalar_one()
    await connection.execute(_DROP_TABLE)
    return dict(msgspec.json.decode(encoded, type=list[tuple[Place, Numbers]]))
