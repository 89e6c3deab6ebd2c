"""the audit: which jobs an action on many is about to change"""

import sqlalchemy as sa
from alembic import op

revision = "saqueduct_0007"
down_revision = "saqueduct_0006"
branch_labels = None
depends_on = None

TABLE = "job_audit_batches"


def upgrade() -> None:
    schema = op.get_context().opts.get("saqueduct_schema")
    # Processes of the previous release write a row after its batch.
    op.add_column(TABLE, sa.Column("done", sa.Boolean(), server_default=sa.true(), nullable=False), schema=schema)


def downgrade() -> None:
    schema = op.get_context().opts.get("saqueduct_schema")
    # Without the column, what was only planned would be said to be done.
    op.execute(sa.delete(sa.table(TABLE, sa.column("done"), schema=schema)).where(sa.column("done").is_(False)))
    op.drop_column(TABLE, "done", schema=schema)
