"""outbox and job records"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
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
    )
    op.create_index("ix_outbox_unpublished", "outbox", ["created_at"], postgresql_where=sa.text("published_at IS NULL"))
    op.create_index(
        "ix_outbox_published", "outbox", ["published_at"], postgresql_where=sa.text("published_at IS NOT NULL")
    )
    op.execute(
        """
        CREATE FUNCTION saqueduct_outbox_notify() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('saqueduct_outbox', ''); RETURN NULL; END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER outbox_notify AFTER INSERT ON outbox
        FOR EACH STATEMENT EXECUTE FUNCTION saqueduct_outbox_notify()
        """
    )
    _create_job_records()


def _create_job_records() -> None:
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
        sa.Column("result", postgresql.JSONB()),
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
    )
    op.create_index(op.f("ix_job_records_key"), "job_records", ["key"])
    op.create_index(
        op.f("ix_job_records_task_queued_at_key_queue"), "job_records", ["task", "queued_at", "key", "queue"]
    )
    op.create_index(
        "ix_job_records_incomplete",
        "job_records",
        ["status", "queued_at", "key", "queue"],
        postgresql_where=sa.text("status <> 'complete'"),
    )
    op.create_index(
        "ix_job_records_task_incomplete",
        "job_records",
        ["task", "status", "queued_at", "key", "queue"],
        postgresql_where=sa.text("status <> 'complete'"),
    )
    op.create_index(
        "ix_job_records_tags",
        "job_records",
        ["tags"],
        postgresql_using="gin",
        postgresql_where=sa.text("tags IS NOT NULL"),
    )
    op.create_index(
        "ix_job_records_arguments",
        "job_records",
        ["arguments"],
        postgresql_using="gin",
        postgresql_ops={"arguments": "jsonb_path_ops"},
        postgresql_where=sa.text("arguments IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("job_records")
    op.drop_table("outbox")
    op.execute("DROP FUNCTION saqueduct_outbox_notify()")
