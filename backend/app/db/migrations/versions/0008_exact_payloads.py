"""arguments and results of job records exactly as they were

Revision 0006 made both JSONB, which has no NUL and other numbers, and orders the names of objects.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# JSONB refuses the escape of NUL; behind an escaped backslash it is none.
WITHOUT_NUL = r"regexp_replace(result::text, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::jsonb"


def upgrade() -> None:
    op.add_column("job_records", sa.Column("payload", sa.Text()))
    op.alter_column("job_records", "result", type_=sa.JSON(), postgresql_using="result::json")


def downgrade() -> None:
    op.alter_column("job_records", "result", type_=postgresql.JSONB(), postgresql_using=WITHOUT_NUL)
    op.drop_column("job_records", "payload")
