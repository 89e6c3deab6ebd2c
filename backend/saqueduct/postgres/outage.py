"""Outages: which errors mean that PostgreSQL is unavailable or overloaded, and not that a statement was wrong."""

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

OUTAGE_STATES = ("08", "25006", "28", "3D", "53", "57P", "58")
"""Prefixes of SQLSTATEs: the connection is lost; the server takes no writes, for example because it is no longer the
primary; it refuses the user, or has no such database; it lacks memory, disk or connections; it stops or starts; it
cannot read
or write its files. See PostgreSQL's manual, appendix "Error Codes"."""

DEADLOCK = "40P01"

AGAIN = ("40001", DEADLOCK)
"""SQLSTATEs of a transaction that conflicted with another one and should run again: it could not be serialized, or each
waited for the other."""

ENDING = "another operation (2) is in progress"
"""In asyncpg's InternalClientError: it was asked for a statement while it reads the error with which the server ends
the connection, PROTOCOL_ERROR_CONSUME in its `coreproto.pxd`. Nothing was sent."""

LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"


class Silence:
    """Remembers when the server was last found not to answer at all."""

    def __init__(self) -> None:
        self._heard = 0.0

    def heard(self) -> None:
        """Record that it did not answer just now."""
        self._heard = time.monotonic()

    def since(self, moment: float) -> bool:
        """True when that was after a moment of the monotonic clock."""
        return self._heard > moment


silence = Silence()
"""Of this process."""


def outage_in(error: BaseException) -> str:
    """What an error says about an outage of PostgreSQL, as text; empty: it is no such error.

    The connection was lost or refused, the server stops, starts, or is full, a lock or a connection of the pool did not
    come free in time, or another transaction conflicted. The same statement may succeed later. An error of the
    statement itself is no outage: wrong syntax, data or constraints, or taking too long. A group of errors is an outage
    if all of them are.
    """
    found = [_alone(each) for each in _leaves(error)]
    return found[0] if all(found) else ""


def is_database_error(error: BaseException) -> "TypeGuard[DBAPIError]":
    """True for an error that SQLAlchemy has from the driver: of a statement or a connection."""
    if not _loaded("sqlalchemy.exc"):
        return False
    from sqlalchemy.exc import DBAPIError

    return isinstance(error, DBAPIError)


def _loaded(module: str) -> bool:
    """False: no error can be one of this module. SQLAlchemy and asyncpg take a while to import, and a process without
    PostgreSQL needs neither."""
    return module in sys.modules


def _alone(error: BaseException) -> str:
    if is_database_error(error):
        return _in_driver(error.orig or error, lost=error.connection_invalidated)
    if _is_pool_timeout(error):
        return "no connection of the pool became free in time (database_pool_size)"
    return _in_driver(error)


def _is_pool_timeout(error: BaseException) -> bool:
    if not _loaded("sqlalchemy.exc"):
        return False
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    return isinstance(error, PoolTimeout)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The error, or those inside a group; without recursion, as groups may be nested very deeply."""
    left = [error]
    while left:
        each = left.pop()
        if isinstance(each, BaseExceptionGroup):
            left.extend(reversed(each.exceptions))
        else:
            yield each


def sqlstate_of(error: BaseException) -> str:
    """The SQLSTATE of an error of SQLAlchemy or the driver; empty: the server gave none."""
    # By attribute: neither of them may be loaded.
    return getattr(getattr(error, "orig", error), "sqlstate", None) or ""


def took_too_long(error: BaseException) -> bool:
    """True when the server ended a statement because of its time limit."""
    return sqlstate_of(error) == QUERY_CANCELED


def _in_driver(error: BaseException, *, lost: bool = False) -> str:
    state = sqlstate_of(error)
    if state == LOCK_NOT_AVAILABLE:
        return _lock(error)
    if state in AGAIN:
        return f"conflict with another transaction: {error}"
    if lost or state.startswith(OUTAGE_STATES) or _is_closed(error):
        return str(error) or "the connection was lost"
    return ""


def _is_closed(error: BaseException) -> bool:
    if not _loaded("asyncpg"):
        return False
    import asyncpg

    text = str(error)
    # By name: SQLAlchemy wraps the second in a class of its own.
    ending = type(error).__name__ == asyncpg.InternalClientError.__name__ and ENDING in text
    return ending or (isinstance(error, asyncpg.InterfaceError) and "closed" in text)


def _lock(error: BaseException) -> str:
    """The lock error of a statement with NOWAIT is the statement's own: it asks for an immediate answer."""
    driver = error.__cause__ if hasattr(error.__cause__, "server_source_function") else error
    if getattr(driver, "server_source_function", "ProcessInterrupts") != "ProcessInterrupts":
        return ""
    return "a lock could not be acquired in time (database_lock_timeout): another transaction holds it"
