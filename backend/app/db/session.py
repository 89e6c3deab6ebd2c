"""Engine and sessions. One request or job is one transaction, ended at its edge.

A session from the container commits when its scope closes without an error, and rolls back otherwise. Services
flush, they never commit.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import ExceptionContext, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from app.settings import Settings
from saqueduct.postgres.connection import connect
from saqueduct.postgres.outage import silence

SessionMaker = async_sessionmaker[AsyncSession]


def make_engine(
    settings: Settings, pool_size: int | None = None, *, statement_timeout: int = 0, waits_for_locks: bool = False
) -> AsyncEngine:
    """An engine of the process; connections are tested before use, so a restarted server costs no request.

    A server that does not answer is away after DATABASE_CONNECT_TIMEOUT, and a lock that is not free after
    DATABASE_LOCK_TIMEOUT ends the statement that waits for it; see `saqueduct.postgres.outage`.

    Its errors do not tell the values of a statement: among them are the arguments of jobs, also redacted ones.

    Args:
        settings: of this process.
        pool_size: connections it keeps open, and may open besides; DATABASE_POOL_SIZE by default.
        statement_timeout: seconds that a statement may take; 0: any number.
        waits_for_locks: True: however long it takes, as migrations do.
    """
    database = settings.database
    size = pool_size or database.pool_size
    limits = {"statement_timeout": f"{statement_timeout}s"} if statement_timeout else {}
    if database.lock_timeout and not waits_for_locks:
        limits["lock_timeout"] = f"{database.lock_timeout}s"
    arguments: dict[str, Any] = {"async_creator_fn": connect, "patience": float(database.connect_timeout)}
    if statement_timeout:
        # The server's own limit comes first: one that is well keeps it.
        arguments["command_timeout"] = statement_timeout + database.connect_timeout
    server_settings = {"application_name": "saqueduct"}
    if database.pgbouncer == "on":
        # The next statement may run on another connection of the server's, which knows no statement prepared before,
        # nor what was set before; and PgBouncer refuses most settings of a connection.
        arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        arguments["prepared_statement_name_func"] = lambda: f"s{uuid.uuid4().hex}"
        arguments["begin"] = "".join(f"SET LOCAL {name} = '{value}';" for name, value in limits.items())
    else:
        server_settings |= limits
    engine = create_async_engine(
        settings.sqlalchemy_url,
        pool_size=size,
        max_overflow=size,
        pool_timeout=database.connect_timeout,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=arguments | {"server_settings": server_settings},
    )
    if statement_timeout:
        event.listen(engine.sync_engine, "handle_error", _tell_silence)
    return engine


def _tell_silence(context: ExceptionContext) -> BaseException | None:
    """A statement that outlasted the client's limit too: the server does not answer, its connection is of no use."""
    if type(context.original_exception) is not TimeoutError:
        return None
    context.is_disconnect = True
    silence.heard()
    if context.connection is not None and (driver := context.connection.connection.driver_connection) is not None:
        # At once: SQLAlchemy would take leave of the server first, and wait for that.
        driver.terminate()
    silent = asyncpg.ConnectionFailureError("PostgreSQL has not answered in time")
    return OperationalError(context.statement, None, silent, hide_parameters=True, connection_invalidated=True)


def make_sessionmaker(engine: AsyncEngine) -> SessionMaker:
    """Sessions whose objects stay readable after commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def transaction(maker: SessionMaker) -> AsyncIterator[AsyncSession]:
    """A session of its own for a block: committed at its end, rolled back on an error."""
    async with maker() as session, session.begin():
        yield session
