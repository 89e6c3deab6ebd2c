"""Databases without tables: one that a test has used is emptied for the next one, in a fraction of the time it takes to
make one and to begin sessions in it, which read all catalogs first."""

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy.engine import make_url

from tests.fixtures.kept_connections import EMPTIED

_numbers = itertools.count()
_emptied: list[str] = []
"""Those of this process that no test has."""

END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""
"""Ends what a test has left in the middle of something, with its locks."""

DROP_ALL = """
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
            EXECUTE format('DROP SCHEMA %I CASCADE', name);
        END LOOP;
    END $$;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
    COMMENT ON SCHEMA public IS 'standard public schema';
"""


@asynccontextmanager
async def empty_database_of(url: str) -> AsyncIterator[str]:
    """The URL of a database without tables for a block; `url` is that of another database of the same server."""
    if _emptied:
        name = _emptied.pop()
    else:
        name = f"{EMPTIED}{os.getpid()}_{next(_numbers)}"
        await run_sql(url, f"CREATE DATABASE {name}")
    own = make_url(url).set(database=name).render_as_string(hide_password=False)
    yield own
    await run_sql(own, "SET client_min_messages = warning", END_OTHERS, DROP_ALL)
    _emptied.append(name)


async def run_sql(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
