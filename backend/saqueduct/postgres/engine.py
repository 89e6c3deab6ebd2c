"""Engines: the connections of a process to PostgreSQL, and the library's connections next to the application's own."""

import uuid
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from saqueduct.errors import ConfigurationError
from saqueduct.postgres.connection import connect
from saqueduct.postgres.outage import silence


def sqlalchemy_url(url: str) -> str:
    """Rewrite a libpq style URL for SQLAlchemy on asyncpg (`sslmode=` is `ssl=` there)."""
    parts = urlsplit(url)
    query = [("ssl" if key == "sslmode" else key, value) for key, value in parse_qsl(parts.query)]
    rebuilt = urlunsplit(("", parts.netloc, parts.path, urlencode(query), "")).removeprefix("//")
    return f"postgresql+asyncpg://{rebuilt}"


def make_engine(
    url: str,
    *,
    pool_size: int,
    connect_timeout: float,
    lock_timeout: float = 0.0,
    statement_timeout: float = 0.0,
    pgbouncer: bool = False,
) -> AsyncEngine:
    """An engine whose connections are tested before use, so that no call fails after a restart of the server.

    A server that does not answer counts as unavailable after `connect_timeout`. A statement that waits for a lock for
    longer than `lock_timeout` fails; see `saqueduct.postgres.outage`.

    Its errors do not show the values of a statement, which include the arguments of jobs, also redacted ones.

    Args:
        url: `postgresql://...`.
        pool_size: connections it keeps open; as many again may open under load.
        connect_timeout: seconds to get a connection and to begin a transaction.
        lock_timeout: seconds that a statement waits for a lock; 0: no limit.
        statement_timeout: seconds that a statement may take; 0: no limit.
        pgbouncer: True behind a PgBouncer that pools transactions.
    """
    limits = _limits(lock_timeout, statement_timeout)
    arguments: dict[str, Any] = {"async_creator_fn": connect, "patience": float(connect_timeout)}
    if statement_timeout:
        # The server's own limit comes first: a healthy server keeps it.
        arguments["command_timeout"] = statement_timeout + connect_timeout
    server_settings = {"application_name": "saqueduct"}
    if pgbouncer:
        # The next statement may run on another server connection, which knows neither earlier prepared statements nor
        # earlier settings; and PgBouncer refuses most settings of a connection.
        arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        arguments["prepared_statement_name_func"] = lambda: f"s{uuid.uuid4().hex}"
        arguments["begin"] = "".join(f"SET LOCAL {name} = '{value}';" for name, value in limits.items())
    else:
        server_settings |= limits
    engine = create_async_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=connect_timeout,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=arguments | {"server_settings": server_settings},
    )
    if statement_timeout:
        event.listen(engine.sync_engine, "handle_error", _tell_silence)
    return engine


def sibling(engine: AsyncEngine, pool_size: int, timeout: float) -> AsyncEngine:
    """An engine that connects as `engine` does, with its own pool; the owner of `engine` disposes of the latter.

    Its transactions are READ COMMITTED, also if those of `engine` are not.

    Args:
        engine: of the application.
        pool_size: connections it keeps open; as many again may open under load.
        timeout: seconds to get a connection.

    Raises:
        ConfigurationError: it is not an `AsyncEngine` for PostgreSQL on asyncpg.
    """
    if not isinstance(engine, AsyncEngine) or (engine.dialect.name, engine.dialect.driver) != ("postgresql", "asyncpg"):
        raise ConfigurationError(
            f"engine: {engine!r} is not an AsyncEngine of postgresql+asyncpg://, which the job tables need"
        )
    theirs: Any = engine.sync_engine.pool
    # As `Pool.recreate`, which keeps the size: how a pool connects has no public name.
    pool = AsyncAdaptedQueuePool(
        theirs._creator,
        pool_size=pool_size,
        max_overflow=pool_size,
        timeout=timeout,
        pre_ping=True,
        recycle=theirs._recycle,
        dialect=engine.dialect,
        _dispatch=theirs.dispatch,
    )
    # After the connect hooks of `engine`, which may set another isolation level; none of this sends a query.
    event.listen(pool, "connect", lambda connection, _: connection.set_isolation_level("read_committed"))
    return AsyncEngine(Engine(pool, engine.dialect, engine.url, hide_parameters=True))


async def own_connection(engine: AsyncEngine) -> Any:
    """A connection of the driver that the pool does not count; the caller closes it.

    Raises:
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: PostgreSQL refused it, or is unavailable.
    """
    try:
        pooled = await engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as error:
        # SQLAlchemy's class for an error of the driver; elsewhere it is wrapped once more, in a DBAPIError.
        raise error.__cause__ or asyncpg.ClientCannotConnectError(str(error)) from error
    connection = pooled.driver_connection
    pooled.detach()
    return connection


def _limits(lock_timeout: float, statement_timeout: float) -> dict[str, str]:
    limits = {"statement_timeout": statement_timeout, "lock_timeout": lock_timeout}
    return {name: f"{round(seconds * 1000)}ms" for name, seconds in limits.items() if seconds}


def _tell_silence(context: ExceptionContext) -> BaseException | None:
    """The statement also exceeded the client's limit: the server does not answer, and its connection is useless."""
    if type(context.original_exception) is not TimeoutError:
        return None
    context.is_disconnect = True
    silence.heard()
    if context.connection is not None and (driver := context.connection.connection.driver_connection) is not None:
        # Immediately: SQLAlchemy would close the connection gracefully first, and wait for that.
        driver.terminate()
    silent = asyncpg.ConnectionFailureError("PostgreSQL has not answered in time")
    return OperationalError(context.statement, None, silent, hide_parameters=True, connection_invalidated=True)
