"""Sessions that are injected by name: a job's success commits with its session, and no commit is lost silently.

The generator that yields such a session commits it with SQLAlchemy's own `commit`. Listeners add

- the success of the job, as `saqueduct.postgres.completion.commit` does for the sessions of a container: in the session
  that is closed last, so that it is rolled back if anything else fails; only in the database of the job records;
- an error where PostgreSQL answers COMMIT with ROLLBACK, because a statement had failed: asyncpg reports none.
"""

from typing import Any
from weakref import WeakSet

from sqlalchemy import URL, Connection, Engine, ExceptionContext, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util import await_only

from saqueduct.postgres.completion import RecordedSuccess, is_aborted, success_to_write, write_success
from saqueduct.postgres.connection import TransactionAborted
from saqueduct.postgres.recorder import JobRecorder
from saqueduct.tasks.completion import announced

KEY = "saqueduct.job_session"
"""Entry of `Session.info`."""

POSTGRES_PORT = 5432

FAILED = "saqueduct.failed"
"""Entry of `Connection.info`: a statement has failed since the transaction began."""


class JobSessions:
    """The sessions of one scope."""

    def __init__(self) -> None:
        self._first: JobSession | None = None

    def made(self, value: Any) -> None:
        """Watch a dependency, if it is a session; with the first one the success of the job commits."""
        if not isinstance(value, AsyncSession | Session):
            return
        watched = JobSession(value if isinstance(value, AsyncSession) and self._first is None else None)
        value.info[KEY] = watched
        self._first = self._first or watched

    def failed(self) -> None:
        """Let no success commit."""
        if self._first is not None:
            self._first.carries = None


class JobSession:
    """One session.

    Args:
        carries: itself, when the success of the job commits with it.
    """

    def __init__(self, carries: AsyncSession | None) -> None:
        self.carries = carries
        self.connection: Connection | None = None
        """Of the transaction, once it has begun."""
        self.written: RecordedSuccess | None = None
        """What commits with the transaction."""


_watched_engines: "WeakSet[Engine]" = WeakSet()


@event.listens_for(Session, "after_begin")
def _begun(session: Session, _: SessionTransaction, connection: Connection) -> None:
    watched: JobSession | None = session.info.get(KEY)
    if watched is not None:
        watched.connection = connection
        _watch(connection.engine)


@event.listens_for(Session, "before_commit")
def _committing(session: Session) -> None:
    watched: JobSession | None = session.info.get(KEY)
    if watched is None or watched.carries is None or watched.connection is None or session.in_nested_transaction():
        return
    success = success_to_write(announced.get())
    if success is not None and _is_of(success.recorder, watched.connection):
        announced.set(None)
        if await_only(write_success(watched.carries, success)):
            watched.written = success


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:
    watched: JobSession | None = session.info.get(KEY)
    if watched is not None and watched.written is not None and not session.in_nested_transaction():
        watched.written.job.recorded = True


@event.listens_for(Session, "after_transaction_end")
def _ended(session: Session, transaction: SessionTransaction) -> None:
    watched: JobSession | None = session.info.get(KEY)
    if watched is not None and transaction.parent is None:
        watched.connection = watched.written = None


def _is_of(recorder: JobRecorder, connection: Connection) -> bool:
    """True for a connection to the database where the recorder writes, with the same role."""
    return _place(connection.engine.url) == _place(recorder.engine.url)


def _place(url: URL) -> tuple[Any, ...]:
    """The parts of a URL that name a database and a role; a unix socket is in the query."""
    host, port = url.host or url.query.get("host"), url.port or url.query.get("port") or POSTGRES_PORT
    return url.get_backend_name(), host, int(str(port)), url.database, url.username


def _watch(engine: Engine) -> None:
    if engine in _watched_engines or engine.dialect.name != "postgresql":
        return
    _watched_engines.add(engine)
    event.listen(engine, "handle_error", _note_failure)
    event.listen(engine, "commit", _check_commit)
    event.listen(engine, "rollback", _forget_failure)


def _note_failure(context: ExceptionContext) -> None:
    if context.connection is not None and not context.is_disconnect:
        context.connection.info[FAILED] = True


def _forget_failure(connection: Connection) -> None:
    connection.info.pop(FAILED, None)


def _check_commit(connection: Connection) -> None:
    """If a statement had failed, check that the transaction is still valid: the failure may have been in a savepoint.

    Raises:
        TransactionAborted: it is not.
    """
    if not connection.info.pop(FAILED, False):
        return
    try:
        connection.exec_driver_sql("SELECT 1")
    except DBAPIError as error:
        connection.info.pop(FAILED, None)
        if is_aborted(error):
            raise TransactionAborted from error
        raise
