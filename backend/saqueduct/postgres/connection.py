"""Connections of this application: asyncpg's, which also report a commit that saved nothing and do not wait for a dead
server."""

import re
import ssl
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import asyncpg

from saqueduct.postgres.outage import silence

_COMMITS = re.compile(r"\s*(COMMIT|END)\b[^;]*;?\s*", re.IGNORECASE)
_QUICK = re.compile(r"\s*(BEGIN|ROLLBACK|SAVEPOINT|RELEASE)\b[^;]*;?\s*", re.IGNORECASE)
"""Statements that a healthy server answers immediately, in any transaction."""


BUILT_IN = 10_000
"""Types with smaller OIDs, such as arrays of numbers, are in PostgreSQL's sources: alike on all of its servers."""

_built_in: dict[tuple[Any, frozenset[int]], Any] = {}
"""What servers of a version have said about types."""


class _Unsent(NamedTuple):
    """The statement of an answer that is known: it takes the place of no other one on the connection."""

    name: str


class TransactionAborted(Exception):
    """A transaction was committed after one of its statements had failed: PostgreSQL rolled it back, nothing is saved.

    PostgreSQL answers such a COMMIT with ROLLBACK, which clients do not treat as an error.
    """

    def __init__(self) -> None:
        super().__init__(
            "nothing was saved: a statement of this transaction failed, its error was caught, and PostgreSQL rolled "
            "back the whole transaction. To go on after an error, run what may fail in a savepoint, inside the `try`: "
            "async with session.begin_nested(): ..."
        )


class Connection(asyncpg.Connection):  # type: ignore[misc]  # (asyncpg has no types for mypy)
    """A connection of this application."""

    patience: float | None = None
    """Seconds that the server gets to begin and to roll back a transaction; None: no limit."""
    begin = ""
    """SQL that is sent with each BEGIN."""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """As asyncpg's.

        Raises:
            TransactionAborted: the query is a COMMIT, and the server has rolled back.
            ConnectionFailureError: the server does not answer; the connection is closed.
        """
        if not args and timeout is None and _QUICK.fullmatch(query):
            return await self._quickly(query)
        status: str = await super().execute(query, *args, timeout=timeout)
        if status == "ROLLBACK" and _COMMITS.fullmatch(query):
            raise TransactionAborted
        return status

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None, **options: Any) -> Any:
        """As asyncpg's. SQLAlchemy tests a connection by an empty query, which a healthy server answers immediately.

        Raises:
            ConnectionFailureError: the server does not answer such a test; the connection is closed.
        """
        if query != ";" or timeout is not None:
            return await super().fetchrow(query, *args, timeout=timeout, **options)
        try:
            return await super().fetchrow(query, timeout=self.patience, **options)
        except TimeoutError:
            raise self._silent() from None

    async def _introspect_types(self, typeoids: Iterable[int], timeout: float | None) -> tuple[Any, Any]:
        """As asyncpg's (0.32), which asks on each connection about the types that a statement is the first to use.

        That takes PostgreSQL longer than most statements: what is alike on all connections is asked once a process.
        """
        types = frozenset(typeoids)
        key = (self.get_server_version(), types)
        if (known := _built_in.get(key)) is not None:
            return known, _Unsent("known")
        answer: tuple[Any, Any] = await super()._introspect_types(typeoids, timeout)
        if max(types) < BUILT_IN:
            _built_in[key] = answer[0]
        return answer

    async def _quickly(self, query: str) -> str:
        if self.begin and query.startswith("BEGIN"):
            query = f"{query.rstrip(';')}; {self.begin}"
        try:
            status: str = await super().execute(query, timeout=self.patience)
            return status
        except TimeoutError:
            raise self._silent() from None

    def _silent(self) -> asyncpg.ConnectionFailureError:
        silence.heard()
        # Anything else that is sent on it would wait too.
        self.terminate()
        return asyncpg.ConnectionFailureError(f"PostgreSQL has not answered for {self.patience:g} s")

    async def close(self, *, timeout: float | None = None) -> None:
        """As asyncpg's; a server that does not answer the close is recorded, see `Silence`.

        Without a `timeout` the server gets `patience` seconds, and then the connection is dropped: a pool that is
        disposed of must not wait for a silent server.
        """
        try:
            await super().close(timeout=self.patience if timeout is None else timeout)
        except TimeoutError:
            silence.heard()
            if timeout is not None:
                raise


async def connect(*args: Any, patience: float, begin: str = "", **options: Any) -> Connection:
    """Open a connection; for SQLAlchemy's `async_creator_fn`.

    Args:
        args, options: of `asyncpg.connect`.
        patience: seconds for it, and `Connection.patience`.
        begin: see `Connection`.

    Raises:
        ClientCannotConnectError: no server answers there. (asyncpg lets errors of the operating system through, which
            do not say that they are about PostgreSQL.)
    """
    options |= {"timeout": patience, "connection_class": Connection}
    try:
        connection: Any = await asyncpg.connect(*args, **options)
    except ssl.SSLCertVerificationError:
        raise
    except OSError as error:
        reason = str(error) or f"no answer within {patience:g} s"
        raise asyncpg.ClientCannotConnectError(f"PostgreSQL cannot be reached: {reason}") from error
    connection.patience, connection.begin = patience, begin
    return cast("Connection", connection)
