"""outbox and job records belong to the library

Revisions 0006 and 0008 made what the library's own revision saqueduct_0001 makes. From here on the library migrates
these tables; their rows stay.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NOTIFY = """
    CREATE OR REPLACE FUNCTION saqueduct_outbox_notify() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('saqueduct_outbox', {message}); RETURN NULL; END $$
"""

TAKE_BACK = """
    DO $$ BEGIN
        IF (SELECT version_num FROM saqueduct_version) <> 'saqueduct_0001' THEN
            RAISE EXCEPTION 'the tables of the library are newer than saqueduct_0001: downgrade them first'
                USING HINT = 'saqueduct.postgres.migrate.downgrade(url, "saqueduct_0001")';
        END IF;
    END $$
"""


def upgrade() -> None:
    op.execute(NOTIFY.format(message="TG_TABLE_SCHEMA"))
    op.execute(
        "CREATE TABLE saqueduct_version (version_num VARCHAR(32) CONSTRAINT saqueduct_version_pkc PRIMARY KEY NOT NULL)"
    )
    op.execute("INSERT INTO saqueduct_version VALUES ('saqueduct_0001')")


def downgrade() -> None:
    op.execute(TAKE_BACK)
    op.execute("DROP TABLE saqueduct_version")
    op.execute(NOTIFY.format(message="''"))
