"""The store that a SaqueductConfig describes."""

from saqueduct.config import SaqueductConfig
from saqueduct.postgres.engine import make_engine, sibling
from saqueduct.postgres.pruning import Pruner
from saqueduct.postgres.records import Rows
from saqueduct.postgres.retention import Retention
from saqueduct.postgres.store import Memory
from saqueduct.tasks.registry import TaskRegistry


def build_store(config: SaqueductConfig, registry: TaskRegistry) -> Memory:
    """What PostgreSQL does for the queues: outbox, durable jobs, job records.

    It has connections of its own, so that jobs which use up those of the application do not block it.

    Raises:
        ConfigurationError: the application's engine is not one for PostgreSQL on asyncpg.
    """
    theirs = config.engine if config.sqlalchemy_config is None else config.sqlalchemy_config.get_engine()
    if theirs is not None:
        engine = sibling(theirs, config.database_pool_size, config.database_connect_timeout)
    else:
        engine = make_engine(
            config.database_url,
            pool_size=config.database_pool_size,
            connect_timeout=config.database_connect_timeout,
            lock_timeout=config.database_lock_timeout,
            pgbouncer=config.pgbouncer,
        )
    rows = Rows(registry, config.record_result_bytes, config.records is not False)
    store = Memory(engine, rows, forgotten_after=config.forgotten_after, listens=not config.pgbouncer)
    retention = Retention(config.keep_complete_days, config.keep_aborted_days, config.keep_failed_days)
    store.pruner = Pruner(store.sessions, retention)
    return store
