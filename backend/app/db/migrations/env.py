"""Alembic's environment: migrates the application's own tables in the database of DATABASE_URL."""

import asyncio

from alembic import context
from sqlalchemy import Connection

import app.db.models  # noqa: F401  (every table, for autogenerate and `alembic check`)
from app.db.base import Base
from app.db.session import make_engine
from app.settings import load_settings
from saqueduct.postgres.migrate import include_name


def run(connection: Connection) -> None:
    """Migrate on an open connection, all steps in one transaction."""
    context.configure(
        connection=connection, target_metadata=Base.metadata, compare_type=True, include_name=include_name()
    )
    with context.begin_transaction():
        # Two processes that migrate at the same time must run one after the other.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(5721040)")
        context.run_migrations()


async def migrate() -> None:
    """Connect and migrate."""
    engine = make_engine(load_settings().require_servers(), waits_for_locks=True)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


asyncio.run(migrate())
