"""Compaction: a table of the kept records takes the place of an old partition, which is dropped.

The kept records are copied while others read and write the partition; a trigger notes what changes meanwhile. Then one
transaction copies the changes and swaps the tables.
"""

from collections.abc import Iterator, Sequence

from saqueduct.postgres.partition_layout import EVERYWHERE, KEPT, PARENT, SEARCH, Layout, Partition
from saqueduct.postgres.retention import Retention

BRIEF = "800ms"
"""How long a step waits for a lock. All others who need the table wait behind it."""

PATIENT = "20s"
"""How long a step waits where nobody waits behind it but VACUUM, which PostgreSQL cancels after a second."""

NEXT = f"{PARENT}_next"
"""The table of the kept records until the swap."""

CHANGES = f"{PARENT}_changes"
"""The places of records that were changed since the copy began."""

NOTE = "saqueduct_note_change"
"""The function of the trigger that notes them, and the name of the trigger."""


BOUNDS = "saqueduct_bounds"
"""The constraint of that table which says what the partition may hold."""


class Compaction:
    """The statements that replace one partition.

    Args:
        layout: of the table.
        partition: has an upper bound.
        retention: says which records are kept.
    """

    def __init__(self, layout: Layout, partition: Partition, retention: Retention) -> None:
        self._partition = partition
        self._parent, self._table = layout.parent, layout.quoted(partition.name)
        self._next, self._changes, self._note = (layout.quoted(name) for name in (NEXT, CHANGES, NOTE))
        self._name = f"{partition.name}{KEPT}"
        self._renamed = layout.quoted(self._name)
        self._kept = f"SELECT * FROM {self._parent} WHERE {partition.condition} AND NOT ({retention.expired})"  # noqa: S608

    @property
    def steps(self) -> Iterator[tuple[str, Sequence[str]]]:
        """The transactions, one after the other: how long each waits for a lock, and its statements."""
        yield PATIENT, self._prepare()
        watched = f"AFTER INSERT OR UPDATE OR DELETE ON {self._table} FOR EACH ROW"
        yield BRIEF, [f"CREATE TRIGGER {NOTE} {watched} EXECUTE FUNCTION {self._note}()"]
        yield BRIEF, self._copy()
        yield BRIEF, self._swap()

    def _prepare(self) -> list[str]:
        return [
            # What is left of a process that died.
            f"DROP FUNCTION IF EXISTS {self._note}() CASCADE",
            f"DROP TABLE IF EXISTS {self._next}, {self._changes}",
            # VACUUM would hold up the swap. This ends it, and nobody waits behind it.
            f"ALTER TABLE {self._table} SET (autovacuum_enabled = false)",
            f"CREATE TABLE {self._changes} (queued_at timestamptz, key text, queue text)",
            # Writers need no rights on the table of the changes.
            f"""
            CREATE FUNCTION {self._note}() RETURNS trigger
                LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS
            $$ BEGIN
                EXECUTE format('INSERT INTO %I.{CHANGES} VALUES ($1, $2, $3), ($4, $5, $6)', TG_TABLE_SCHEMA)
                    USING OLD.queued_at, OLD.key, OLD.queue, NEW.queued_at, NEW.key, NEW.queue;
                RETURN NULL;
            END $$
            """,  # noqa: S608  (made of the names above)
        ]

    def _copy(self) -> list[str]:
        indexes = EVERYWHERE | SEARCH
        check = f"CONSTRAINT {BOUNDS} CHECK ({self._partition.condition})"
        return [
            f"CREATE TABLE {self._next} (LIKE {self._parent} INCLUDING ALL EXCLUDING INDEXES, {check})",
            f"INSERT INTO {self._next} {self._kept}",
            f"ALTER TABLE {self._next} ADD PRIMARY KEY (queued_at, key, queue)",
            f"CREATE INDEX ON {self._next} (key)",
            f"CREATE INDEX ON {self._next} (status, queued_at, key, queue) WHERE status <> 'complete'",
            *(f"CREATE INDEX {self._name}_{suffix} ON {self._next} {columns}" for suffix, columns in indexes.items()),
            f"ANALYZE {self._next}",
        ]

    def _swap(self) -> list[str]:
        changed = f"(queued_at, key, queue) IN (SELECT queued_at, key, queue FROM {self._changes})"  # noqa: S608
        return [
            # Only the changed records are looked up: a plan for a small table would read all of the partition.
            *(f"SET LOCAL enable_{way} = off" for way in ("seqscan", "hashjoin", "mergejoin")),
            # In the order in which queries lock them.
            f"LOCK TABLE ONLY {self._parent} IN ACCESS EXCLUSIVE MODE",
            f"LOCK TABLE {self._table} IN ACCESS EXCLUSIVE MODE",
            f"DELETE FROM {self._next} WHERE {changed}",  # noqa: S608
            f"INSERT INTO {self._next} {self._kept} AND {changed}",
            f"ALTER TABLE {self._parent} DETACH PARTITION {self._table}",
            f"DROP TABLE {self._table}",
            f"DROP FUNCTION {self._note}()",
            f"DROP TABLE {self._changes}",
            f"ALTER TABLE {self._next} RENAME TO {self._name}",
            # The constraint says what PostgreSQL would otherwise check row by row.
            f"ALTER TABLE {self._parent} ATTACH PARTITION {self._renamed} {self._partition.bounds}",
            f"ALTER TABLE {self._renamed} DROP CONSTRAINT {BOUNDS}",
        ]
