"""outbox and job records"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from saqueduct.postgres.base import quoted
from saqueduct.postgres.migrate import make_schema, refuse_tables_of_others

revision = "saqueduct_0001"
down_revision = None
branch_labels = ("saqueduct",)
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    schema = op.get_context().opts.get("saqueduct_schema")
    make_schema(op.get_bind(), schema)
    refuse_tables_of_others(op.get_bind(), schema)
    _create_outbox(schema)
    _create_job_records(schema)
    _create_record_indexes(schema)


def _create_outbox(schema: str | None) -> None:
    op.create_table(
        "outbox",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("queued", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("unique", postgresql.JSONB()),
        sa.Column("durable", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("published_at", TIME),
        sa.PrimaryKeyConstraint("queue", "key", name=op.f("pk_outbox")),
        postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.05},
        schema=schema,
    )
    for state, condition in (("unpublished", "IS NULL"), ("published", "IS NOT NULL")):
        column = "created_at" if state == "unpublished" else "published_at"
        where = sa.text(f"published_at {condition}")
        op.create_index(f"ix_outbox_{state}", "outbox", [column], postgresql_where=where, schema=schema)
    # The channel belongs to the whole database: the message says whose outbox it is.
    op.execute(
        f"""
        CREATE FUNCTION {quoted("saqueduct_outbox_notify", schema)}() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('saqueduct_outbox', TG_TABLE_SCHEMA); RETURN NULL; END $$
        """
    )
    op.execute(
        f"""
        CREATE TRIGGER outbox_notify AFTER INSERT ON {quoted("outbox", schema)}
        FOR EACH STATEMENT EXECUTE FUNCTION {quoted("saqueduct_outbox_notify", schema)}()
        """
    )


def _create_job_records(schema: str | None) -> None:
    op.create_table(
        "job_records",
        sa.Column("queued_at", TIME, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("round", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("recoveries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("arguments", postgresql.JSONB()),
        sa.Column("payload", sa.Text()),
        sa.Column("result", sa.JSON()),
        sa.Column("error", sa.Text()),
        sa.Column("errors", postgresql.JSONB()),
        sa.Column("worker", sa.Text()),
        sa.Column("started_at", TIME),
        sa.Column("ended_at", TIME),
        sa.Column("schedule", sa.Text()),
        sa.Column("parent", sa.Text()),
        sa.Column("trace_id", sa.Text()),
        sa.Column("tags", sa.ARRAY(sa.Text())),
        sa.Column("replay_of", sa.Text()),
        sa.Column("resolution", sa.Text()),
        sa.Column("resolved_at", TIME),
        sa.Column("resolved_by", sa.Text()),
        sa.Column("resolved_why", sa.Text()),
        sa.Column("replayed_as", sa.Text()),
        sa.PrimaryKeyConstraint("queued_at", "key", "queue", name=op.f("pk_job_records")),
        sa.CheckConstraint("status IN ('queued', 'complete', 'failed', 'aborted')", name=op.f("ck_job_records_status")),
        schema=schema,
    )


def _create_record_indexes(schema: str | None) -> None:
    def index(name: str, columns: list[str], where: str = "", **options: Any) -> None:
        if where:
            options["postgresql_where"] = sa.text(where)
        op.create_index(name, "job_records", columns, schema=schema, **options)

    place = ["queued_at", "key", "queue"]
    index("ix_job_records_key", ["key"])
    index("ix_job_records_task_queued_at_key_queue", ["task", *place])
    index("ix_job_records_incomplete", ["status", *place], "status <> 'complete'")
    index("ix_job_records_task_incomplete", ["task", "status", *place], "status <> 'complete'")
    index("ix_job_records_tags", ["tags"], "tags IS NOT NULL", postgresql_using="gin")
    index(
        "ix_job_records_arguments",
        ["arguments"],
        "arguments IS NOT NULL",
        postgresql_using="gin",
        postgresql_ops={"arguments": "jsonb_path_ops"},
    )


def downgrade() -> None:
    schema = op.get_context().opts.get("saqueduct_schema")
    op.drop_table("job_records", schema=schema)
    op.drop_table("outbox", schema=schema)
    op.execute(f"DROP FUNCTION {quoted('saqueduct_outbox_notify', schema)}()")
