"""What the routes of the queue work with, as one dependency: Litestar starts a task for each of several."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from saqueduct.common.secret import Secret
from saqueduct.errors import NoJobRecords, QueueUnavailable
from saqueduct.litestar.links import JobLinks
from saqueduct.litestar.transactions import Sessions, transaction
from saqueduct.queue.queues import Queues
from saqueduct.tasks.registry import TaskRegistry
from saqueduct.telemetry.system_state import SystemReader
from saqueduct.timings import PostgresTimings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from saqueduct.postgres.audit import AuditLog
    from saqueduct.postgres.dead_letters import DeadLetters
    from saqueduct.postgres.history import JobHistory
    from saqueduct.postgres.time_series import TimeSeries


class QueueServices:
    """Queues, tasks, and what PostgreSQL keeps.

    Args:
        queues: of the process.
        registry: the tasks that can be listed and enqueued.
        links: makes the addresses of jobs.
        sessions: open sessions on PostgreSQL; None: there is no PostgreSQL.
        metrics_token: bearer token for routes that only show numbers; None: only the admin may call them.
    """

    def __init__(
        self,
        queues: Queues,
        registry: TaskRegistry,
        links: JobLinks,
        sessions: Sessions | None,
        metrics_token: Secret | None = None,
    ) -> None:
        self.queues = queues
        self.registry = registry
        self.links = links
        self.metrics_token = metrics_token
        self._sessions = sessions

    @property
    def system(self) -> SystemReader:
        """Reads the state of the whole, for health."""
        return SystemReader(self.queues, None if self._sessions is None else self.transaction)

    @property
    def keeps_records(self) -> bool:
        """True when there is a PostgreSQL."""
        return self._sessions is not None

    @property
    def searched_records(self) -> int | None:
        """Job records that one page of a list reads at most; None: as many as it needs."""
        return None if self.queues.store is None else self.queues.store.sizes.searched_records

    def under(self, root_path: str) -> "QueueServices":
        """The same for requests to an application that is mounted under a path."""
        links = self.links.under(root_path)
        return QueueServices(self.queues, self.registry, links, self._sessions, self.metrics_token)

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[AsyncSession]":
        """A session for a block, committed at its end, rolled back on an error.

        Raises:
            NoJobRecords: there is no PostgreSQL.
            QueueUnavailable: the block has taken longer than a search and a transaction may together. The limits of the
                server itself do not hold while its processes are suspended.
        """
        if self._sessions is None:
            raise NoJobRecords
        timings = PostgresTimings() if self.queues.store is None else self.queues.store.timings
        seconds = timings.search + timings.transaction
        limit = asyncio.timeout(seconds)
        try:
            async with limit, transaction(self._sessions) as session:
                yield session
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise QueueUnavailable(f"PostgreSQL: no answer within {seconds:g} s", server="PostgreSQL") from error

    @asynccontextmanager
    async def history(self) -> "AsyncIterator[JobHistory]":
        """The job records, within a transaction.

        Raises:
            NoJobRecords: there is no PostgreSQL.
        """
        async with self.transaction() as session:
            # Here: SQLAlchemy takes a while to import, and not every application has a PostgreSQL.
            from saqueduct.postgres.history import JobHistory

            store = self.queues.store
            # The session may be one of the application, which knows nothing of the schema.
            if store is None:
                yield JobHistory(session, tasks=self.registry)
            else:
                yield JobHistory(session, store.schema, store.timings, self.registry)

    @asynccontextmanager
    async def time_series(self) -> "AsyncIterator[TimeSeries]":
        """The history of queues and tasks, within a transaction.

        Raises:
            NoJobRecords: there is no PostgreSQL.
        """
        async with self.transaction() as session:
            # Here, as in `history`.
            from saqueduct.postgres.time_series import TimeSeries

            yield TimeSeries(session, None if self.queues.store is None else self.queues.store.schema)

    @asynccontextmanager
    async def audit_log(self) -> "AsyncIterator[AuditLog]":
        """The audit, within a transaction.

        Raises:
            NoJobRecords: there is no PostgreSQL.
        """
        async with self.transaction() as session:
            # Here, as in `history`.
            from saqueduct.postgres.audit import AuditLog

            yield AuditLog(session, None if self.queues.store is None else self.queues.store.schema)

    @asynccontextmanager
    async def dead_letters(self) -> "AsyncIterator[DeadLetters]":
        """The dead letters, within a transaction, which is confirmed at the end of the block.

        Raises:
            NoJobRecords: there is no PostgreSQL.
            DuplicateJob: see `DeadLetters.confirm`.
        """
        async with self.transaction() as session:
            # Here, as in `history`.
            from saqueduct.postgres.dead_letters import DeadLetters

            letters = DeadLetters(session, self.queues, self.registry)
            yield letters
        await letters.confirm()
