"""The store that a SaqueductConfig describes."""

from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct.config import SaqueductConfig
from saqueduct.errors import ConfigurationError
from saqueduct.postgres.engine import make_engine, sibling
from saqueduct.postgres.partitions import Partitions
from saqueduct.postgres.pruning import Pruner
from saqueduct.postgres.records import Rows
from saqueduct.postgres.retention import Retention
from saqueduct.postgres.store import PostgresStore
from saqueduct.tasks.registry import TaskRegistry


def build_store(config: SaqueductConfig, registry: TaskRegistry) -> PostgresStore:
    """The store of the queues in PostgreSQL: outbox, durable jobs, job records.

    It has connections of its own, so that jobs which use up those of the application do not block it.

    Raises:
        ConfigurationError: the application's engine is not one for PostgreSQL on asyncpg.
    """
    rows = Rows(
        registry,
        config.record_result_bytes,
        config.records is not False,
        config.schema,
        synchronous=config.record_synchronous_commit,
    )
    engine = make_store_engine(config, config.database_pool_size)
    store = PostgresStore(
        engine,
        rows,
        forgotten_after=config.forgotten_after,
        listens=not config.pgbouncer,
        max_unrecorded=config.max_unrecorded,
        timings=config.timings.postgres,
        sizes=config.sizes,
    )
    retention = Retention(config.keep_complete_days, config.keep_aborted_days, config.keep_failed_days)
    partitions = Partitions(engine, retention, config.schema, pgbouncer=config.pgbouncer)
    store.recorder.fill = partitions.fill
    store.pruner = Pruner(store.sessions, retention, partitions, config.keep_audit_days)
    return store


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
