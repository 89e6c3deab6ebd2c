"""Direct connections: statements of the store that run often, without SQLAlchemy between it and asyncpg.

Each statement is a transaction of its own and takes one round trip. On a connection of SQLAlchemy's pool it takes six:
three test the connection, and the transaction begins and ends.
"""

import asyncio
from contextlib import suppress
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct.postgres.engine import own_connection

SETTINGS = """
    SET default_transaction_isolation = 'read committed';
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off
"""
"""These statements find a few rows by their keys. A plan that was made while the table was small would read all of it,
and is kept when the table has grown."""

CLOSING = 1.0
"""Seconds that the server gets to close a connection."""


class _Held(NamedTuple):
    """A connection, and the event loop that it belongs to."""

    connection: Any
    loop: asyncio.AbstractEventLoop


class DirectConnections:
    """Connections that run single statements.

    They are opened when they are needed. One that the server has closed, for example by a restart, is noticed before
    its use.

    Args:
        engine: opens them; they do not count as connections of its pool.
        most: how many.
        pgbouncer: True behind a PgBouncer that pools transactions: each statement then needs a BEGIN, and settings of a
            connection would reach other clients.
    """

    def __init__(self, engine: AsyncEngine, most: int, *, pgbouncer: bool) -> None:
        self._engine = engine
        self._most = most
        self._pgbouncer = pgbouncer
        self._idle: list[_Held] = []
        self._free = asyncio.Semaphore(most)

    async def fetch(self, statement: str, *args: Any, seconds: float) -> list[asyncpg.Record]:
        """Run a statement in a transaction of its own.

        Args:
            statement: with parameters `$1` and so on.
            args: their values.
            seconds: that it may take, including the wait for a free connection.

        Raises:
            TimeoutError: it took longer; whether it committed is not known.
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: PostgreSQL refused it, or is unavailable.
        """
        try:
            async with asyncio.timeout(seconds), self._free:
                return await self._fetch(statement, args)
        except TimeoutError as error:
            raise TimeoutError(str(error) or f"no answer within {seconds:g} s") from error

    async def _fetch(self, statement: str, args: tuple[Any, ...]) -> list[asyncpg.Record]:
        while True:
            used, connection = bool(self._idle), await self._take()
            try:
                found = await self._run(connection, statement, args)
            except asyncpg.PostgresError:
                self._put_back(connection)
                raise
            except BaseException as error:
                # Its statement may still run.
                connection.terminate()
                if not isinstance(error, asyncpg.InternalClientError):
                    raise
                # The server is closing it, and asyncpg has read a part of that: nothing was sent.
                if not used:
                    raise asyncpg.ConnectionDoesNotExistError(str(error)) from error
                continue
            self._put_back(connection)
            return found

    async def _run(self, connection: Any, statement: str, args: tuple[Any, ...]) -> list[asyncpg.Record]:
        if not self._pgbouncer:
            return list(await connection.fetch(statement, *args))
        async with connection.transaction(isolation="read_committed"):
            return list(await connection.fetch(statement, *args))

    async def close(self) -> None:
        """Close the idle connections; the next ones may belong to another event loop."""
        held, self._idle = self._idle, []
        self._free = asyncio.Semaphore(self._most)
        for connection in (each.connection for each in held if each.loop is asyncio.get_running_loop()):
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=CLOSING)

    async def _take(self) -> Any:
        loop = asyncio.get_running_loop()
        while self._idle:
            held = self._idle.pop()
            if held.loop is loop and not held.connection.is_closed():
                return held.connection
        connection = await own_connection(self._engine)
        if not self._pgbouncer:
            try:
                await connection.execute(SETTINGS)
            except BaseException:
                connection.terminate()
                raise
        return connection

    def _put_back(self, connection: Any) -> None:
        if not connection.is_closed():
            self._idle.append(_Held(connection, asyncio.get_running_loop()))
