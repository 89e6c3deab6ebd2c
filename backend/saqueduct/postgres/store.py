"""The store in PostgreSQL for the queues of one process."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from saq import Job
from saq.job import Status
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from saqueduct.broker.batching import Batches
from saqueduct.common.own_context import create_shared_task
from saqueduct.common.text import storable
from saqueduct.errors import ConfigurationError, DuplicateJob
from saqueduct.postgres import claims
from saqueduct.postgres.audit import AuditWriter
from saqueduct.postgres.base import in_schema
from saqueduct.postgres.direct import DirectConnections
from saqueduct.postgres.ended_rows import let_go
from saqueduct.postgres.ends import Ends
from saqueduct.postgres.outbox import DATABASE_AWAY, JOBS_PER_STATEMENT, Outbox
from saqueduct.postgres.pruning import Pruner
from saqueduct.postgres.publisher import Publisher
from saqueduct.postgres.recorder import JobRecorder
from saqueduct.postgres.records import Rows
from saqueduct.postgres.relay import Relay
from saqueduct.postgres.rows import identity
from saqueduct.postgres.table_check import check
from saqueduct.postgres.time_series import Numbers, Place, add
from saqueduct.postgres.transactions import Pending, note, pending_of
from saqueduct.postgres.unrecorded import MOST, UnrecordedEnds
from saqueduct.queue.queue import EngineQueue
from saqueduct.sizes import Sizes
from saqueduct.tasks.job import EngineJob, Enqueued
from saqueduct.tasks.job_meta import DURABLE, SCHEDULE
from saqueduct.timings import PostgresTimings

logger = logging.getLogger("saqueduct")

RETRIES = 2
"""Most concurrent manual retries: each holds a connection and may need another one. With more of them, all could wait
for connections that the others hold."""


DIRECT = 4
"""Connections for the statements that durable jobs and jobs of transactions need, beside those of the engine's pool."""


Singles = Mapping[str, asyncio.Future[Enqueued]]
"""Answers to single jobs that are being sent, by the names of their queues."""


class PostgresStore:
    """The outbox, the recorder and the relay of one process.

    Args:
        engine: its own connections, so that jobs which use up those of the application do not block it.
        rows: makes the records, and knows the schema of the tables.
        forgotten_after: seconds since Redis was last known to have a durable job, after which Redis is asked for it.
        listens: False where LISTEN does not work, as behind a PgBouncer that pools transactions.
        max_unrecorded: ends that a queue keeps in Redis for PostgreSQL, before its workers take no further jobs.
        timings: intervals, waits and limits.
        sizes: how much may wait for PostgreSQL.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        rows: Rows,
        *,
        forgotten_after: float = 60.0,
        listens: bool = True,
        max_unrecorded: int = MOST,
        timings: PostgresTimings | None = None,
        sizes: Sizes | None = None,
    ) -> None:
        if rows.schema is not None:
            engine = engine.execution_options(**in_schema(rows.schema))
        self._engine = engine
        self.timings = timings = timings or PostgresTimings()
        self.sizes = sizes = sizes or Sizes()
        self.schema = rows.schema
        """Of the tables; None: what the `search_path` of a connection finds."""
        self.sessions = async_sessionmaker(engine, expire_on_commit=False)
        """Makes sessions on the connections of the store."""
        self.outbox = Outbox(engine, timings, rows.schema)
        self._queues: dict[str, EngineQueue] = {}
        ends = UnrecordedEnds(self._queues, rows.knows, timings, max_unrecorded)
        self.audit = AuditWriter(self.outbox.transaction, rows.schema, timings.plan)
        """Notes the actions of people."""
        self._direct = direct = DirectConnections(engine, DIRECT, pgbouncer=not listens)
        self.recorder = JobRecorder(engine, rows, ends, Ends(engine, direct, rows), timings, sizes)
        self.publisher = Publisher(self.outbox, direct, timings)
        self.relay = Relay(
            engine, self.outbox, self.recorder, ends, self._queues, forgotten_after, timings, listens=listens
        )
        self._singles: dict[str, Batches[str, Enqueued]] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._watched: list[EngineQueue] = []
        self._watching: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._retries = asyncio.Semaphore(RETRIES)
        self.pruner: Pruner | None = None
        """Deletes old job records while workers run; None: this process does not."""

    def serve(self, queues: Sequence[EngineQueue]) -> None:
        """Store the jobs of these queues."""
        for queue in queues:
            queue.store, queue.recorder = self, self.recorder
            self._queues[queue.name] = queue
            self.publisher.serve(queue)
            self._singles[queue.name] = Batches(partial(self._publish, queue), JOBS_PER_STATEMENT)

    async def check(self) -> None:
        """Raise when the tables are missing, or older than the code; an outage of PostgreSQL is no error.

        Raises:
            TablesMissing, TablesOutdated: see `saqueduct.postgres.table_check`.
        """
        try:
            async with self.outbox.transaction() as connection:
                await check(connection, self.schema)
        except ConfigurationError:
            await self._engine.dispose()
            raise
        except DATABASE_AWAY as error:
            logger.info("could not check the tables, PostgreSQL does not answer: %s", error)

    async def keep(self, queue: EngineQueue, jobs: Sequence[Job]) -> list[Enqueued]:
        """Enqueue durable jobs; see `Publisher.send`."""
        return await self.publisher.send(queue, jobs)

    async def add_history(self, found: Mapping[Place, Numbers]) -> None:
        """Add what happened in this process to the history."""
        async with self.outbox.transaction() as connection:
            await add(connection, found, self.schema)

    async def adopt(self, queue: EngineQueue, jobs: Sequence[Job]) -> None:
        """Store durable jobs that were enqueued without the outbox."""
        try:
            async with self.outbox.transaction() as connection:
                ended = await self.recorder.rows.ended(connection, jobs)
                if running := [job for job in jobs if identity(job) not in ended]:
                    await self.outbox.adopt(connection, queue, running)
        except DATABASE_AWAY as error:
            logger.warning("queue %s: %d durable jobs are in Redis only: %s", queue.name, len(jobs), error)

    async def write(self, session: AsyncSession, queue: EngineQueue, jobs: Sequence[Job]) -> list[Enqueued]:
        """Write jobs in the transaction of a session; they are enqueued immediately after its commit.

        Raises:
            DuplicateJob: a unique job of the same transaction exists already; the others are written.
        """
        pending = pending_of(session, self.committed)
        superfluous = await claims.existing(session, pending, queue, jobs, self.schema)
        written = [job for place, job in enumerate(jobs) if place not in superfluous]
        answers = await self.outbox.write(session, queue, written)
        note(pending, queue.name, [answer.key for answer in answers if answer.created])
        claims.note(pending, queue, written, answers)
        for job in jobs:
            job.status = Status.NEW
        further = iter(answers)
        both = [
            next(further) if place not in superfluous else _superfluous(job, superfluous[place])
            for place, job in enumerate(jobs)
        ]
        return [answer._replace(published=pending.published, existing=pending.existing) for answer in both]

    async def hold(self, queue: EngineQueue, key: str) -> None:
        """Put a job that only PostgreSQL has into Redis, to be aborted there; see `Outbox.hold`."""
        if storable(key) == key:
            await self.outbox.hold(queue, key)

    async def retry(self, job: Job, again: Callable[[], Awaitable[Job]]) -> Job:
        """Queue a job again that has ended; it then no longer waits as a dead letter. This also works while PostgreSQL
        is unavailable.

        Args:
            job: as it ended.
            again: queues it.

        Raises:
            JobConflict: the dead letter was replayed.
        """
        async with self._retries:
            return await self._retry(job, again)

    async def _retry(self, job: Job, again: Callable[[], Awaitable[Job]]) -> Job:
        retried: Job | None = None
        try:
            if await self._queues[job.get_queue().name].unrecorded.kept(job):
                # Its end first, in a separate transaction: a durable job is written again.
                await self.recorder.write([job])
            elif job.meta.get(DURABLE) and SCHEDULE in job.meta:
                # A leftover note that it has ended must not keep its new row from being written.
                async with self.outbox.transaction() as connection:
                    await let_go(connection, [job], self.schema, wait=True)
            async with self.outbox.transaction() as connection:
                await self.recorder.rows.retried(connection, job)
                retried = await again()
        except DATABASE_AWAY as error:
            logger.warning("could not note in its record that the job %s was queued again: %s", job.key, error)
        return retried or await again()

    async def watch(self, queue: EngineQueue) -> None:
        """Run the relay and the pruner for a queue, until cancelled; one for all queues of this process."""
        self._watched.append(queue)
        if self._watching is None:
            self._watching = create_shared_task(self._look_after())
        try:
            await asyncio.Event().wait()
        finally:
            self._watched.remove(queue)
            if not self._watched and self._watching is not None:
                self._watching.cancel()
                self._ending.add(self._watching)
                self._watching = None

    async def _look_after(self) -> None:
        pruning = asyncio.create_task(self.pruner.run()) if self.pruner is not None else None
        try:
            await self.relay.run(self._watched)
        finally:
            if pruning is not None:
                pruning.cancel()
                await asyncio.wait([pruning])

    async def close(self) -> None:
        """Send and write what is left, and close the connections."""
        seconds = self.timings.flush
        if self._sending:
            await asyncio.wait(self._sending, timeout=seconds)
        await self.publisher.flush(seconds)
        if self._ending:
            # Cancelled relays release their connections first.
            await asyncio.wait(self._ending, timeout=seconds)
            self._ending.clear()
        await self.audit.flush(seconds)
        await self.recorder.flush(seconds)
        try:
            async with asyncio.timeout(seconds):
                await self._direct.close()
                await self._engine.dispose()
        except TimeoutError:
            logger.warning("PostgreSQL does not answer, so its connections are dropped")
        # The next ones may belong to another event loop.
        self._retries = asyncio.Semaphore(RETRIES)

    def committed(self, pending: Pending) -> None:
        """A transaction has committed; its jobs are enqueued while its caller continues."""
        task = asyncio.get_running_loop().create_task(self._sent(pending, self._begin(pending)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def send(self, pending: Pending) -> None:
        """Enqueue the jobs of a transaction that has committed."""
        await self._sent(pending, self._begin(pending))

    def _begin(self, pending: Pending) -> Singles:
        """A single job of a queue is sent together with those of other transactions that commit at this moment; by the
        queue's name. Not in a task: that would be an iteration of the event loop later."""
        return {name: self._singles[name].add(keys[0]) for name, keys in pending.keys.items() if len(keys) == 1}

    async def _sent(self, pending: Pending, singles: Singles) -> None:
        try:
            for name, keys in pending.keys.items():
                if name in singles:
                    answers = {keys[0]: await singles[name]}
                else:
                    answers = await self.publisher.committed(self._queues[name], keys)
                answers |= await self.publisher.outlast(self._queues[name], keys)
                pending.existing |= {key: answer.key for key, answer in answers.items() if not answer.created}
        finally:
            pending.published.set_result(True)

    async def _publish(self, queue: EngineQueue, keys: Sequence[str]) -> list[Enqueued]:
        answer_of = await self.publisher.committed(queue, keys)
        return [answer_of.get(key) or Enqueued(key, created=True) for key in keys]


def _superfluous(job: Job, existing: str) -> Enqueued:
    claim = job.claim if isinstance(job, EngineJob) else None
    if claim is not None and claim.unique.on_conflict == "raise":
        raise DuplicateJob(job.function, existing)
    return Enqueued(existing, created=False)
