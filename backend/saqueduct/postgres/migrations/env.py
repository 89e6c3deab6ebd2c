"""Alembic's environment of the library's own tables; `saqueduct.postgres.migrate` runs it on a connection."""

from alembic import context

from saqueduct.postgres.models import metadata
from saqueduct.postgres.table_check import VERSION_TABLE

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    version_table_schema=attributes["schema"],
    saqueduct_schema=attributes["schema"],
)
# The caller's transaction, if it has begun one.
with context.begin_transaction():
    context.run_migrations()
