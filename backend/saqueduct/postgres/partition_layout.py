"""The partitions of `job_records`: their names, bounds and indexes, and how they are read from PostgreSQL's catalog.

They cover all times without a gap, so that every record has its place: the first one has no lower bound, the last one
no upper bound.
"""

import datetime as dt
import re
from typing import NamedTuple

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from saqueduct.postgres.base import quoted
from saqueduct.postgres.models import JobRecord

PARENT = JobRecord.__tablename__

PARTITION = re.compile(rf"{PARENT}_((first|\d{{8}})(_again)?(_kept)?|next|changes)")
"""Names of partitions, and of tables that a step makes and removes again."""

KEPT = "_kept"
"""Ends the name of a partition that has only the records which outlive the others of their days."""

SEARCH = {
    "task": "(task, queued_at, key, queue)",
    "tags": "USING gin (tags) WHERE tags IS NOT NULL",
    "trace": "(trace_id) WHERE trace_id IS NOT NULL",
    "attempt": "(substr(attempt_trace, 4, 32)) WHERE attempt_trace IS NOT NULL",
    "queue": "(queue)",
    "arguments": "USING gin (arguments jsonb_path_ops) WHERE arguments IS NOT NULL",
}
"""The indexes that closed partitions have besides those of all. Writing to them would cost more than the record."""

EVERYWHERE = {
    "task_incomplete": "(task, status, queued_at, key, queue) WHERE status <> 'complete'",
    "dead": "(queued_at, key, queue) WHERE status = 'failed' AND resolution IS NULL",
    "schedule": "(schedule, queued_at) WHERE schedule IS NOT NULL",
}
"""Indexes of few records, which cost the others nothing. Workers create them on each partition without a lock that
others wait for; a migration would have to lock the table while it reads all of it."""


BEFORE = "saqueduct_before"
"""Name of a constraint of the last partition while it gets an upper bound."""


class Partition(NamedTuple):
    """One partition.

    Attributes:
        name: of its table.
        start, end: it has the records enqueued from `start` on and before `end`; None: no bound.
        size: bytes of its table, without indexes.
        indexes: names of its indexes, each with whether it is valid.
    """

    name: str
    start: dt.datetime | None
    end: dt.datetime | None
    size: int
    indexes: dict[str, bool]

    @property
    def kept(self) -> bool:
        """True when the records that do not outlive the others are gone."""
        return self.name.endswith(KEPT)

    @property
    def condition(self) -> str:
        """Its bounds as a condition in SQL."""
        lower = [f"queued_at >= '{self.start.isoformat()}'"] if self.start else []
        return " AND ".join([*lower, f"queued_at < '{self.end.isoformat()}'"] if self.end else lower) or "true"

    @property
    def bounds(self) -> str:
        """Its bounds as ATTACH PARTITION takes them."""
        return bounds(self.start, self.end)


class Layout(NamedTuple):
    """All partitions, oldest first; none: the table is not partitioned.

    Attributes:
        now: the time of the server.
        schema: of the table.
        owner: of the table, as SQL; None: this role does not have the owner's rights.
        partitions: all of them.
    """

    now: dt.datetime
    schema: str
    owner: str | None
    partitions: list[Partition]

    def quoted(self, name: str) -> str:
        """The name of a table in the same schema, as SQL."""
        return quoted(name, self.schema)

    @property
    def parent(self) -> str:
        """The partitioned table, as SQL."""
        return self.quoted(PARENT)


_TABLE = text("""
    SELECT now(), nspname, CASE WHEN pg_has_role(relowner, 'USAGE') THEN CAST(CAST(relowner AS regrole) AS text) END
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = to_regclass(:table)
""")

_PARTITIONS = text(r"""
    SELECT relname, CAST(found[2] AS timestamptz), CAST(found[4] AS timestamptz),
        coalesce(pg_relation_size(pg_class.oid), 0)
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid,
        regexp_match(pg_get_expr(relpartbound, pg_class.oid),
            '\((MINVALUE|''(.*)'')\) TO \((MAXVALUE|''(.*)'')\)') AS found
    WHERE inhparent = to_regclass(:table) ORDER BY 2 NULLS FIRST
""")

_INDEXES = text("""
    SELECT tables.relname, indexes.relname, indisvalid
    FROM pg_inherits JOIN pg_index ON indrelid = inhrelid
    JOIN pg_class AS tables ON tables.oid = indrelid JOIN pg_class AS indexes ON indexes.oid = indexrelid
    WHERE inhparent = to_regclass(:table)
""")


async def read(connection: AsyncConnection, schema: str | None) -> Layout:
    """The partitions as they are now."""
    table = {"table": quoted(PARENT, schema)}
    now, found_in, owner = (await connection.execute(_TABLE, table)).one()
    indexes: dict[str, dict[str, bool]] = {}
    for name, index, valid in await connection.execute(_INDEXES, table):
        indexes.setdefault(name, {})[index] = valid
    found = await connection.execute(_PARTITIONS, table)
    partitions = [Partition(name, start, end, size, indexes.get(name, {})) for name, start, end, size in found]
    return Layout(now, found_in, owner, partitions)


def no_partition(error: BaseException) -> bool:
    """True when a record could not be written because its time has no partition at the moment."""
    orig = getattr(error, "orig", error)
    driver = orig.__cause__ if isinstance(orig.__cause__, asyncpg.PostgresError) else orig
    if not isinstance(driver, asyncpg.CheckViolationError):
        return False
    # PostgreSQL gives its own check of the bounds no name.
    table, constraint = getattr(driver, "table_name", None), getattr(driver, "constraint_name", None)
    return str(table).startswith(PARENT) and constraint in (None, BEFORE)


def bounds(start: dt.datetime | None, end: dt.datetime | None) -> str:
    """The bounds of a partition as ATTACH PARTITION takes them."""
    lower, upper = f"'{start.isoformat()}'" if start else "MINVALUE", f"'{end.isoformat()}'" if end else "MAXVALUE"
    return f"FOR VALUES FROM ({lower}) TO ({upper})"


def name_at(start: dt.datetime | None) -> str:
    """The name of the partition that begins at a time, midnight in UTC."""
    return f"{PARENT}_{start:%Y%m%d}" if start else f"{PARENT}_first"


def midnight(moment: dt.datetime) -> dt.datetime:
    """The last midnight in UTC before a time."""
    return moment.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
