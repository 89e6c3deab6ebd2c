"""the history: numbers of queues and tasks over time"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from saqueduct.postgres.migrate import refuse_tables_of_others

revision = "saqueduct_0005"
down_revision = "saqueduct_0004"
branch_labels = None
depends_on = None

COUNTS = ("enqueued", "complete", "failed", "aborted", "retried", "recovered")


def upgrade() -> None:
    schema = op.get_context().opts.get("saqueduct_schema")
    refuse_tables_of_others(op.get_bind(), schema, "job_history")
    op.create_table(
        "job_history",
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.Column("wait_seconds", sa.Double(), nullable=False),
        sa.Column("run_seconds", sa.Double(), nullable=False),
        sa.Column("waits", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("runs", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.PrimaryKeyConstraint("step", "at", "queue", "task", name="pk_job_history"),
        postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.05},
        schema=schema,
    )


def downgrade() -> None:
    op.drop_table("job_history", schema=op.get_context().opts.get("saqueduct_schema"))
