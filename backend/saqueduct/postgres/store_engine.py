"""The library's own connections to the database that a SaqueductConfig names."""

from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct.config import SaqueductConfig
from saqueduct.errors import ConfigurationError
from saqueduct.postgres.engine import make_engine, sibling


def make_store_engine(config: SaqueductConfig, pool_size: int) -> AsyncEngine:
    """The library's own connections to the database that a config names.

    Args:
        config: names it by `database_url`, `engine` or `sqlalchemy_config`.
        pool_size: connections to keep open; as many again may open under load.

    Raises:
        ConfigurationError: it names none, or its engine is not one for PostgreSQL on asyncpg.
    """
    theirs = config.engine if config.sqlalchemy_config is None else config.sqlalchemy_config.get_engine()
    if theirs is not None:
        return sibling(theirs, pool_size, config.database_connect_timeout)
    if not config.database_url:
        raise ConfigurationError("no PostgreSQL: give SaqueductConfig(database_url=...), or set DATABASE_URL")
    return make_engine(
        config.database_url,
        pool_size=pool_size,
        connect_timeout=config.database_connect_timeout,
        lock_timeout=config.database_lock_timeout,
        pgbouncer=config.pgbouncer,
    )
