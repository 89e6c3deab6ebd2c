"""A Redis and a PostgreSQL of its own, for development and tests."""
