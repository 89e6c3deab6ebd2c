"""the audit: who did what by hand"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from saqueduct.postgres.migrate import refuse_tables_of_others

revision = "saqueduct_0004"
down_revision = "saqueduct_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    schema = op.get_context().opts.get("saqueduct_schema")
    refuse_tables_of_others(op.get_bind(), schema, "job_audit")
    op.create_table(
        "job_audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("targets", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=True),
        sa.Column("task", sa.Text(), nullable=True),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("filter", postgresql.JSONB(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("surface", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_audit"),
        schema=schema,
    )
    op.create_index("ix_job_audit_at", "job_audit", ["at"], schema=schema)
    op.create_index("ix_job_audit_targets", "job_audit", ["targets"], schema=schema, postgresql_using="gin")


def downgrade() -> None:
    op.drop_table("job_audit", schema=op.get_context().opts.get("saqueduct_schema"))
