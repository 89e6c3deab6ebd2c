"""The revisions of the library's tables: an Alembic branch with the label `saqueduct`."""
