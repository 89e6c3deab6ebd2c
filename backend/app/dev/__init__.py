"""Development on a bare machine: an embedded Redis and PostgreSQL, and `make dev`. Never imported in production."""
