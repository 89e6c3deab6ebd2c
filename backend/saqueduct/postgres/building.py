"""The store that a SaqueductConfig describes."""

from saqueduct.config import SaqueductConfig
from saqueduct.postgres.partitions import Partitions
from saqueduct.postgres.pruning import Pruner
from saqueduct.postgres.records import Rows
from saqueduct.postgres.retention import Retention
from saqueduct.postgres.store import PostgresStore
from saqueduct.postgres.store_engine import make_store_engine
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
