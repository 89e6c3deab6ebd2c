"""An embedded Redis and PostgreSQL, for development and tests."""
