"""Creates and upgrades the library's tables, which have their own revision, separate from the application's migrations.

await upgrade("postgresql://app@localhost/app", schema="jobs")

An application that has Alembic can include them in its own migrations instead, see docs/how-to/migrate-the-tables.md.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from saqueduct.common.text import check_schema
from saqueduct.config import SaqueductConfig
from saqueduct.errors import ConfigurationError, MigrationFailed
from saqueduct.postgres.base import quoted
from saqueduct.postgres.engine import make_engine, sibling
from saqueduct.postgres.models import metadata
from saqueduct.postgres.outage import LOCK_NOT_AVAILABLE, sqlstate_of
from saqueduct.postgres.partition_layout import PARTITION
from saqueduct.postgres.store_engine import make_store_engine
from saqueduct.postgres.table_check import REVISIONS, VERSION_TABLE, check, find_revision

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["check", "current", "downgrade", "include_name", "migrate", "upgrade"]

LOCK = 5721041
"""Key of the advisory lock: only one process migrates at a time."""

CONNECT_TIMEOUT = 10.0
"""Seconds to reach a database that is named by its URL."""

LOCK_TIMEOUT = 5.0
"""Seconds that a migration waits for a table that a transaction holds; all others wait behind it for as long."""

Direction = Literal["upgrade", "downgrade"]


async def migrate(config: SaqueductConfig, revision: str = "head") -> None:
    """Upgrade the tables of the database and the schema that a config names.

    Args:
        config: names them by `database_url`, `engine` or `sqlalchemy_config`, and `schema`.
        revision: to upgrade to.

    Raises:
        ConfigurationError: it names no database.
        MigrationFailed: see `upgrade`.
    """
    engine = make_store_engine(config, pool_size=1)
    try:
        await _run(engine, config.schema, "upgrade", revision, config.database_lock_timeout)
    finally:
        await engine.dispose()


async def upgrade(
    database: AsyncEngine | str,
    schema: str | None = None,
    revision: str = "head",
    *,
    lock_timeout: float = LOCK_TIMEOUT,
) -> None:
    """Create the tables, or upgrade them, in one transaction; a missing schema is created too.

    Two processes that migrate at the same time run one after the other, and the second one finds nothing to do.

    Args:
        database: its URL, or an engine on asyncpg.
        schema: of the tables; None: the first one of the connection's `search_path`.
        revision: to upgrade to.
        lock_timeout: seconds to wait for a table that another transaction holds. 0: no limit.

    Raises:
        ConfigurationError: the engine is not one on asyncpg, the schema can have no such name, or Alembic is missing.
        MigrationFailed: no such revision; another table has the name of one of these; a table is locked for too long;
            the application's own Alembic includes these tables.
    """
    async with _engine(database) as engine:
        await _run(engine, schema, "upgrade", revision, lock_timeout)


async def downgrade(
    database: AsyncEngine | str, revision: str, schema: str | None = None, *, lock_timeout: float = LOCK_TIMEOUT
) -> None:
    """Downgrade; "base" removes the tables with all rows. Arguments and errors as `upgrade`."""
    async with _engine(database) as engine:
        await _run(engine, schema, "downgrade", revision, lock_timeout)


async def current(database: AsyncEngine | str, schema: str | None = None) -> str | None:
    """The revision of the tables; None: there are none, or no version table lists them."""
    async with _engine(database) as engine, engine.connect() as connection:
        return (await find_revision(connection, schema)).revision


def include_name(schema: str | None = None) -> Callable[..., bool]:
    """Makes a filter for `context.configure(include_name=...)` in the `env.py` of an application.

    With it `alembic revision --autogenerate` and `alembic check` leave the library's tables alone, which the
    application's metadata does not have.

    Args:
        schema: of the library's tables.
    """
    ours = {*metadata.tables, VERSION_TABLE}

    def include(name: str | None, kind: str, parents: Mapping[str, Any]) -> bool:
        is_ours = name in ours or PARTITION.fullmatch(name or "") is not None
        return not (kind == "table" and is_ours and parents.get("schema_name") == schema)

    return include


def make_schema(connection: Connection, schema: str | None) -> None:
    """Create a missing schema. Not with IF NOT EXISTS, which requires the right to create one even if it exists."""
    if schema and not inspect(connection).has_schema(schema):
        connection.execute(text(f"CREATE SCHEMA {quoted(schema, None)}"))


def refuse_tables_of_others(connection: Connection, schema: str | None, *names: str) -> None:
    """Raise if tables with the library's names already exist.

    Args:
        connection: to the database.
        schema: of the tables.
        names: of the tables that the revision makes; by default all.

    Raises:
        MigrationFailed: names them.
    """
    taken = [name for name in names or metadata.tables if inspect(connection).has_table(name, schema=schema)]
    if taken:
        where = f"the schema {schema!r}" if schema else "the database"
        raise MigrationFailed(
            f"{where} already has tables named {' and '.join(taken)} that Saqueduct has not made: name another schema "
            "for its tables, such as SaqueductConfig(schema='saqueduct')"
        )


@asynccontextmanager
async def _engine(database: AsyncEngine | str) -> AsyncIterator[AsyncEngine]:
    """A separate engine, independent of the isolation level and pool of the application's engine."""
    if isinstance(database, str):
        engine = make_engine(database, pool_size=1, connect_timeout=CONNECT_TIMEOUT)
    else:
        engine = sibling(database, 1, CONNECT_TIMEOUT)
    try:
        yield engine
    finally:
        await engine.dispose()


async def _run(
    engine: AsyncEngine, schema: str | None, direction: Direction, revision: str, lock_timeout: float
) -> None:
    try:
        if schema is not None:
            check_schema(schema)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    try:
        async with engine.begin() as connection:
            # No limit: another process may take long.
            await connection.execute(text("SET LOCAL lock_timeout = 0"))
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            await connection.execute(text(f"SET LOCAL lock_timeout = '{round(lock_timeout * 1000)}ms'"))
            await _refuse_included(connection, schema)
            await connection.run_sync(_run_alembic, schema, direction, revision)
    except DBAPIError as error:
        if sqlstate_of(error) != LOCK_NOT_AVAILABLE:
            raise
        raise MigrationFailed(
            f"nothing was changed: a transaction has held one of Saqueduct's tables for more than {lock_timeout:g} s. "
            "Try again, or wait for longer (lock_timeout)"
        ) from error


async def _refuse_included(connection: AsyncConnection, schema: str | None) -> None:
    found = await find_revision(connection, schema)
    if found.revision is not None and found.table != VERSION_TABLE:
        raise MigrationFailed(
            f"the application's own Alembic includes Saqueduct's tables ({found.table} has {found.revision}): migrate "
            "them with it, `alembic upgrade heads`"
        )


def _run_alembic(connection: Connection, schema: str | None, direction: Direction, revision: str) -> None:
    config = _alembic(connection, schema)
    from alembic import command
    from alembic.util import CommandError

    make_schema(connection, schema)
    try:
        getattr(command, direction)(config, revision)
    except CommandError as error:
        raise MigrationFailed(
            f"cannot {direction} Saqueduct's tables to the revision {revision!r}: {error} (this release knows "
            f"{', '.join(REVISIONS)})"
        ) from error


def _alembic(connection: Connection, schema: str | None) -> "Config":
    try:
        from alembic.config import Config
    except ImportError:
        raise ConfigurationError("Saqueduct's tables are migrated by Alembic: pip install saqueduct[cli]") from None
    config = Config(attributes={"connection": connection, "schema": schema})
    config.set_main_option("script_location", "saqueduct.postgres:migrations")
    config.set_main_option("path_separator", "os")
    return config
