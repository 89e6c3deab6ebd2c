"""age of mails"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_emails_updated_at"), "emails", ["updated_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_emails_updated_at"), "emails")
