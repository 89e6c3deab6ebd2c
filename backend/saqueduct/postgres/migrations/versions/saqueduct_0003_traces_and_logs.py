"""traces and logs of attempts

Adds columns without a value, which takes milliseconds whatever the size of the table. Closed partitions get an index of
trace ids from the workers, as they get their other indexes.
"""

from alembic import op

from saqueduct.postgres.base import quoted

revision = "saqueduct_0003"
down_revision = "saqueduct_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        f"ALTER TABLE {_table()} ADD COLUMN IF NOT EXISTS attempt_trace text, ADD COLUMN IF NOT EXISTS logs json"
    )


def downgrade() -> None:
    op.execute(f"ALTER TABLE {_table()} DROP COLUMN attempt_trace, DROP COLUMN logs")


def _table() -> str:
    return quoted("job_records", op.get_context().opts.get("saqueduct_schema"))
