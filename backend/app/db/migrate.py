"""Brings the database of DATABASE_URL to the newest migrations: `python -m app.db.migrate`."""

import asyncio
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

from app.db.session import make_engine
from app.settings import Settings, SettingsError, load_settings
from saqueduct.errors import MigrationFailed
from saqueduct.postgres.migrate import upgrade
from saqueduct.postgres.outage import outage_in

BACKEND = Path(__file__).resolve().parents[2]


def migrate() -> None:
    """Migrate the application's own tables, then those of the library.

    Raises:
        SettingsError: the settings are invalid, or name no servers.
        MigrationFailed: see `saqueduct.postgres.migrate.upgrade`.
    """
    settings = load_settings().require_servers()
    command.upgrade(Config(BACKEND / "alembic.ini"), "head")
    asyncio.run(_migrate_the_library(settings))


async def _migrate_the_library(settings: Settings) -> None:
    engine = make_engine(settings, pool_size=1)
    try:
        await upgrade(engine, lock_timeout=settings.database.lock_timeout)
    finally:
        await engine.dispose()


def run() -> None:
    """Migrate; errors that an operator can fix are shown without a traceback."""
    try:
        migrate()
    except (SettingsError, MigrationFailed) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if not (outage := outage_in(error)):
            raise
        print(f"{outage}; check the server and DATABASE_URL", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run()
