"""the audit: all jobs that an action on many has changed"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from saqueduct.postgres.migrate import refuse_tables_of_others

revision = "saqueduct_0006"
down_revision = "saqueduct_0005"
branch_labels = None
depends_on = None

TABLE = "job_audit_batches"


def upgrade() -> None:
    schema = op.get_context().opts.get("saqueduct_schema")
    refuse_tables_of_others(op.get_bind(), schema, TABLE)
    op.create_table(
        TABLE,
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("enqueued", sa.Boolean(), nullable=False),
        sa.Column("targets", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_audit_batches"),
        schema=schema,
    )
    op.create_index("ix_job_audit_batches_at", TABLE, ["at"], schema=schema)
    op.create_index(
        "ix_job_audit_batches_targets",
        TABLE,
        ["targets"],
        schema=schema,
        postgresql_using="gin",
        postgresql_where=sa.text("NOT enqueued"),
    )


def downgrade() -> None:
    op.drop_table(TABLE, schema=op.get_context().opts.get("saqueduct_schema"))
