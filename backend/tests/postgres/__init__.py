"""Tests of PostgreSQL: the tables and their migrations, schemas, and engines of an application."""
