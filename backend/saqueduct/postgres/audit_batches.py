"""The targets of actions on many: rows beside the entry of the audit, which names the first ones only.

An entry of a million keys could not be shown, and would be written again with each batch of the action. A row has the
keys of one batch, so that the page of each job finds the action: by an index of the keys, or by the time where the
action enqueued them.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, false, func, insert, or_, select, true, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from saqueduct.common.text import storable
from saqueduct.postgres.models import AuditBatch, AuditRow
from saqueduct.queue.audit import MOST_TARGETS, AuditEntry

KEYS: Final = 500
"""Keys of a row."""


IS_DONE: Final = or_(
    func.coalesce(AuditRow.count, 1) > 0, func.coalesce(func.jsonb_typeof(AuditRow.filter), "null") == "object"
)
"""False for a single action that was planned, and not noted as done; an action on many may have found none."""


class Target(NamedTuple):
    """A job to which an action was done."""

    key: str
    queue: str | None


class Action(NamedTuple):
    """What was done to a job by hand."""

    row: AuditRow
    """The entry of the action."""
    at: dt.datetime
    """When it was done to this job."""
    in_batch: bool
    """True where the entry does not name the job itself."""
    done: bool
    """False where it was only planned, and the worker ended before it noted the change."""


async def write(
    connection: AsyncConnection | AsyncSession, entry: int, done: Iterable[Target], options: dict[str, Any]
) -> None:
    """Write to which jobs an action was done.

    Args:
        connection: in whose transaction.
        entry: id of the action.
        done: the jobs.
        options: of the statement, with the schema.
    """
    await _write(connection, entry, done, options, enqueued=False)


async def withdraw(
    connection: AsyncConnection | AsyncSession, entry: int, dropped: Sequence[Target], options: dict[str, Any]
) -> None:
    """Take back what `write` and the count of the entry say of jobs to which the action was not done after all.
    Arguments as `write`."""
    options = {"synchronize_session": False, **options}
    fewer = update(AuditRow).where(AuditRow.id == entry).values(count=AuditRow.count - len(dropped))
    await connection.execute(fewer, execution_options=options)
    for queue, keys in rows_of(dropped):
        for key in keys:
            # The last condition has an index.
            mine = (AuditBatch.entry == entry, AuditBatch.queue.is_not_distinct_from(queue))
            named = ~AuditBatch.enqueued & AuditBatch.targets.contains([key])
            without = update(AuditBatch).where(*mine, named).values(targets=func.array_remove(AuditBatch.targets, key))
            await connection.execute(without, execution_options=options)


async def write_further(
    connection: AsyncConnection | AsyncSession, id_: int, entry: AuditEntry, options: dict[str, Any]
) -> None:
    """Write the targets that an entry does not name itself. Arguments as `write`."""
    further = [Target(key, entry.queue) for key in entry.targets[MOST_TARGETS:]]
    await _write(connection, id_, further, options, enqueued=entry.action == "enqueue")


async def _write(
    connection: AsyncConnection | AsyncSession,
    entry: int,
    done: Iterable[Target],
    options: dict[str, Any],
    *,
    enqueued: bool,
) -> None:
    same = {"entry": entry, "enqueued": enqueued}
    if rows := [{**same, "queue": queue, "targets": keys} for queue, keys in rows_of(done)]:
        await connection.execute(insert(AuditBatch).values(rows), execution_options=options)


def rows_of(targets: Iterable[Target]) -> Iterator[tuple[str | None, list[str]]]:
    """The queue and the keys of each row for some jobs."""
    keys: dict[str | None, list[str]] = {}
    for key, queue in targets:
        keys.setdefault(None if queue is None else storable(queue), []).append(storable(key))
    for queue, some in keys.items():
        for first in range(0, len(some), KEYS):
            yield queue, some[first : first + KEYS]


def actions_on(
    key: str, queue: str | None, since: dt.datetime, enqueued_before: dt.datetime, kinds: Sequence[str]
) -> Select[Any, Any, Any, Any]:
    """The entries about the jobs of a key since a time: id, time, whether it was one of a batch, and done.

    Args:
        key, queue: of the jobs; None: of any queue.
        since: when the action was done.
        enqueued_before: when the entry of the enqueue was written at the latest.
        kinds: of entries that name their targets.
    """
    named = select(AuditRow.id, AuditRow.at, false().label("in_batch"), IS_DONE.label("done")).where(
        AuditRow.targets.contains([storable(key)]), AuditRow.kind.in_(kinds), AuditRow.at >= since
    )
    in_batch = select(AuditBatch.entry, AuditBatch.at, true().label("in_batch"), AuditBatch.done).where(
        AuditBatch.targets.contains([storable(key)]),
        AuditBatch.at >= since,
    )
    if queue is not None:
        in_batch = in_batch.where(or_(AuditBatch.queue.is_(None), AuditBatch.queue == storable(queue)))
    changed = in_batch.where(~AuditBatch.enqueued)
    enqueued = in_batch.where(AuditBatch.enqueued, AuditBatch.at <= enqueued_before)
    # Found by the indexes: ordered at once, the whole table might be read in its order.
    found = union_all(named, changed, enqueued).cte("found").prefix_with("MATERIALIZED")
    return select(AuditRow, found.c.at, found.c.in_batch, found.c.done).join(found, found.c.id == AuditRow.id)


def is_about(target: str) -> ColumnElement[bool]:
    """True for entries of a target, in SQL; not for those of a batch that enqueued it, and does not name it."""
    keys = [storable(target)]
    named = select(AuditRow.id).where(AuditRow.targets.contains(keys))
    in_batch = select(AuditBatch.entry).where(AuditBatch.targets.contains(keys), ~AuditBatch.enqueued)
    return AuditRow.id.in_(union_all(named, in_batch))
