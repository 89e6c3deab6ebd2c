"""The state of the library's tables in a database, read with plain SQL: a starting process needs no Alembic."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from saqueduct.errors import TablesMissing, TablesOutdated
from saqueduct.postgres.base import quoted
from saqueduct.postgres.models import OutboxJob, metadata

REVISIONS = tuple(f"saqueduct_{number:04}" for number in range(1, 8))
"""Revisions of the tables that this release knows, oldest first; the last one is what its code needs."""

VERSION_TABLE = "saqueduct_version"
"""Holds the revision of the tables, in their schema."""

ALEMBIC_VERSION = "alembic_version"
"""The version table of an application, which has the revision where its own Alembic includes the library's branch."""

_PREFIX = "saqueduct_"

_COLUMNS = text("""
    SELECT place, attname FROM unnest(CAST(:places AS text[])) AS t(place)
    JOIN pg_attribute ON attrelid = to_regclass(place) AND attnum > 0 AND NOT attisdropped
""")

_READABLE = text("""
    SELECT place FROM unnest(CAST(:places AS text[])) AS t(place)
    WHERE coalesce(has_table_privilege(to_regclass(place), 'SELECT'), false)
""")


class FoundRevision(NamedTuple):
    """What the version tables say.

    Attributes:
        revision: of the library's tables; None: no version table names one.
        table: the version table that names it.
    """

    revision: str | None
    table: str


async def check(connection: AsyncConnection, schema: str | None = None) -> None:
    """Raise when the tables are missing, or older than this code needs them; newer ones are fine.

    Args:
        connection: to the database.
        schema: of the tables; None: the first one of the connection's `search_path` that has them.

    Raises:
        TablesMissing: there are none.
        TablesOutdated: they lack a revision.
    """
    columns = await _columns(connection, schema)
    missing = [name for name, found in columns.items() if not found]
    if missing:
        raise TablesMissing(missing, schema)
    revision = (await find_revision(connection, schema)).revision
    if revision in REVISIONS[:-1]:
        raise TablesOutdated(f"they have revision {revision}, and this release needs {REVISIONS[-1]}", schema)
    # They may have been created in another way, or belong to an application whose version table has another name.
    lacking = [f"{name}.{each}" for name, found in columns.items() for each in _needed(name) if each not in found]
    if revision is None and lacking:
        raise TablesOutdated(f"they lack {', '.join(lacking)}", schema)


async def find_revision(connection: AsyncConnection, schema: str | None = None) -> FoundRevision:
    """The revision of the library's tables, if a version table names it."""
    places = {quoted(name, schema): name for name in (VERSION_TABLE, ALEMBIC_VERSION)}
    places[ALEMBIC_VERSION] = ALEMBIC_VERSION
    outbox = quoted(OutboxJob.__tablename__, schema)
    readable = (await connection.execute(_READABLE, {"places": [outbox, *places]})).scalars().all()
    for place, name in places.items():
        # Without tables in this schema, the application's version table refers to those in another one.
        if place in readable and outbox in readable:
            query = text(f"SELECT version_num FROM {place}")  # noqa: S608  (a quoted name)
            if revision := newest((await connection.execute(query)).scalars()):
                return FoundRevision(revision, name)
    return FoundRevision(None, VERSION_TABLE)


def newest(revisions: Iterable[str]) -> str | None:
    """The library's revision among those of all branches."""
    return max((each for each in revisions if each.startswith(_PREFIX)), default=None)


def _needed(table: str) -> list[str]:
    return [column.name for column in metadata.tables[table].columns]


async def _columns(connection: AsyncConnection, schema: str | None) -> dict[str, set[str]]:
    """The columns of each table; none where it is missing."""
    places = {quoted(name, schema): name for name in metadata.tables}
    found: dict[str, set[str]] = {name: set() for name in metadata.tables}
    for place, column in await connection.execute(_COLUMNS, {"places": list(places)}):
        found[places[place]].add(column)
    return found
