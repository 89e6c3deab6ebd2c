"""Outages: which errors mean that PostgreSQL is away or overloaded, and not that a statement was wrong."""

import time
from collections.abc import Iterator

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

AWAY = ("08", "25006", "28", "3D", "53", "57P", "58")
"""Beginnings of SQLSTATEs: the connection is lost; the server takes no writes, as one does that is no primary any more;
it refuses the user, or has no such database; it lacks memory, disk or connections; it stops or starts; it cannot read
or write its files. See PostgreSQL's manual, appendix "Error Codes"."""

DEADLOCK = "40P01"

AGAIN = ("40001", DEADLOCK)
"""SQLSTATEs of a transaction that another one got into the way of, and that is to be run again: it could not be
serialized, or each waited for the other."""

LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"


class Silence:
    """Remembers when the server was last found not to answer at all."""

    def __init__(self) -> None:
        self._heard = 0.0

    def heard(self) -> None:
        """It did not answer just now."""
        self._heard = time.monotonic()

    def since(self, moment: float) -> bool:
        """True when that was after a moment of the monotonic clock."""
        return self._heard > moment


silence = Silence()
"""Of this process."""


def outage_in(error: BaseException) -> str:
    """What about PostgreSQL an error says that is nobody's fault, for people; empty: it is no such error.

    The connection was lost or refused, the server stops, starts, or is full, a lock or a connection of the pool did not
    come free in time, or another transaction got into the way. The same statement may do later. An error of a
    statement itself is none: of its syntax, data, or constraints, or that it took too long. A group of errors is one if
    all of them are.
    """
    found = [_alone(each) for each in _leaves(error)]
    return found[0] if all(found) else ""


def _alone(error: BaseException) -> str:
    if isinstance(error, PoolTimeout):
        return "no connection of the pool came free in time (DATABASE_POOL_SIZE)"
    if isinstance(error, DBAPIError):
        return _in_driver(error.orig or error, lost=error.connection_invalidated)
    return _in_driver(error)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The error, or those inside of a group; not by recursion, as groups may be nested without end."""
    left = [error]
    while left:
        each = left.pop()
        if isinstance(each, BaseExceptionGroup):
            left.extend(reversed(each.exceptions))
        else:
            yield each


def took_too_long(error: BaseException) -> bool:
    """True when the server ended a statement because of its time limit."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) == QUERY_CANCELED


def _in_driver(error: BaseException, *, lost: bool = False) -> str:
    state = getattr(error, "sqlstate", None) or ""
    if state == LOCK_NOT_AVAILABLE:
        return _lock(error)
    if state in AGAIN:
        return f"another transaction got into the way: {error}"
    if lost or state.startswith(AWAY) or (isinstance(error, asyncpg.InterfaceError) and "closed" in str(error)):
        return str(error) or "the connection was lost"
    return ""


def _lock(error: BaseException) -> str:
    """That of a statement with NOWAIT is the statement's own: it wants to know at once."""
    driver = error.__cause__ if isinstance(error.__cause__, asyncpg.PostgresError) else error
    if getattr(driver, "server_source_function", "ProcessInterrupts") != "ProcessInterrupts":
        return ""
    return "a lock was not free in time (DATABASE_LOCK_TIMEOUT): another transaction holds it"
