"""job records in partitions by the time of enqueue

The table becomes the first partition of a new one. No row is moved and none is read, so the locks last milliseconds;
workers begin further partitions later, see `saqueduct.postgres.partitions`. An empty table is divided at once.
"""

from alembic import op

from saqueduct.postgres.base import quoted

revision = "saqueduct_0002"
down_revision = "saqueduct_0001"
branch_labels = None
depends_on = None

INDEXES = {
    "pk_job_records": "job_records_first_pkey",
    "ix_job_records_key": "job_records_first_key",
    "ix_job_records_incomplete": "job_records_first_incomplete",
    "ix_job_records_task_queued_at_key_queue": "job_records_first_task",
    "ix_job_records_task_incomplete": "job_records_first_task_incomplete",
    "ix_job_records_tags": "job_records_first_tags",
    "ix_job_records_arguments": "job_records_first_arguments",
}
"""Their names, and those that they get as indexes of the first partition."""

HOT = """
    ALTER TABLE {parent} ADD CONSTRAINT pk_job_records PRIMARY KEY (queued_at, key, queue);
    CREATE INDEX ix_job_records_key ON {parent} (key);
    CREATE INDEX ix_job_records_incomplete ON {parent} (status, queued_at, key, queue) WHERE status <> 'complete'
"""
"""The indexes of every partition: those that writing needs, and to find by key; and one that complete jobs are not in,
so that it costs them nothing."""

SEARCH = """
    CREATE INDEX ix_job_records_task_queued_at_key_queue ON {parent} (task, queued_at, key, queue);
    CREATE INDEX ix_job_records_task_incomplete ON {parent} (task, status, queued_at, key, queue)
        WHERE status <> 'complete';
    CREATE INDEX ix_job_records_tags ON {parent} USING gin (tags) WHERE tags IS NOT NULL;
    CREATE INDEX ix_job_records_arguments ON {parent} USING gin (arguments jsonb_path_ops) WHERE arguments IS NOT NULL
"""

# A new table has the rights and the owner of the one that it replaces.
TAKE_OVER = """
    DO $$
    DECLARE each record;
    BEGIN
        FOR each IN
            SELECT privilege_type, is_grantable,
                CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS role
            FROM pg_class, aclexplode(relacl) WHERE oid = to_regclass($t${old}$t$) AND grantee <> relowner
        LOOP
            EXECUTE format('GRANT %s ON {new} TO %s', each.privilege_type, each.role)
                || CASE WHEN each.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END;
        END LOOP;
        FOR each IN
            SELECT relowner::regrole AS role FROM pg_class WHERE oid = to_regclass($t${old}$t$)
                AND relowner <> (SELECT relowner FROM pg_class WHERE oid = to_regclass($t${new}$t$))
        LOOP
            EXECUTE format('ALTER TABLE {new} OWNER TO %s', each.role);
        END LOOP;
    END $$
"""

DIVIDE = """
    DO $$
    DECLARE
        each text;
        today timestamptz := date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    BEGIN
        IF EXISTS (SELECT FROM {first}) THEN
            -- Without bounds: rows need no check.
            ALTER TABLE {parent} ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
        ELSE
            EXECUTE format('ALTER TABLE {parent} ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO (%L)', today);
            ALTER TABLE {first} RENAME TO job_records_first_kept;
            FOREACH each IN ARRAY ARRAY['task', 'task_incomplete', 'tags', 'arguments'] LOOP
                EXECUTE format('ALTER INDEX {first}_%s RENAME TO job_records_first_kept_%s', each, each);
            END LOOP;
            EXECUTE format('CREATE TABLE {prefix}%s PARTITION OF {parent} FOR VALUES FROM (%L) TO (MAXVALUE)',
                to_char(today AT TIME ZONE 'UTC', 'YYYYMMDD'), today);
        END IF;
    END $$
"""


def upgrade() -> None:
    schema = op.get_context().opts.get("saqueduct_schema")
    parent, first = quoted("job_records", schema), quoted("job_records_first", schema)
    op.execute(f"ALTER TABLE {parent} RENAME TO job_records_first")
    for name, new in INDEXES.items():
        op.execute(f"ALTER INDEX {quoted(name, schema)} RENAME TO {new}")
    like = f"LIKE {first} INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS"
    op.execute(f"CREATE TABLE {parent} ({like}) PARTITION BY RANGE (queued_at)")
    _run(HOT, parent=parent)
    op.execute(TAKE_OVER.format(old=first, new=parent))
    # Names of partitions need no quotes.
    op.execute(DIVIDE.format(parent=parent, first=first, prefix=quoted("job_records_", schema)))


def downgrade() -> None:
    """Copies all rows, while nobody else reads or writes them."""
    schema = op.get_context().opts.get("saqueduct_schema")
    parent, divided = quoted("job_records", schema), quoted("job_records_divided", schema)
    op.execute(f"LOCK TABLE {parent} IN ACCESS EXCLUSIVE MODE")
    op.execute(f"ALTER TABLE {parent} RENAME TO job_records_divided")
    for name in ("pk_job_records", "ix_job_records_key", "ix_job_records_incomplete"):
        op.execute(f"ALTER INDEX {quoted(name, schema)} RENAME TO {name}_divided")
    op.execute(f"CREATE TABLE {parent} (LIKE {divided} INCLUDING ALL EXCLUDING INDEXES)")
    op.execute(f"INSERT INTO {parent} SELECT * FROM {divided}")  # noqa: S608  (quoted names)
    _run(HOT + ";" + SEARCH, parent=parent)
    op.execute(TAKE_OVER.format(old=divided, new=parent))
    op.execute(f"DROP TABLE {divided}")
    # What is left of a step that a worker did not finish.
    for name in ("job_records_next", "job_records_changes"):
        op.execute(f"DROP TABLE IF EXISTS {quoted(name, schema)}")
    op.execute(f"DROP FUNCTION IF EXISTS {quoted('saqueduct_note_change', schema)}()")


def _run(statements: str, **names: str) -> None:
    for statement in statements.format(**names).split(";"):
        op.execute(statement)
