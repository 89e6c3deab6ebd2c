"""The outbox: jobs written in a caller's transaction, and enqueued once that has committed.

A row is locked while its job is enqueued, and marked in Redis in the step that enqueues it, so that a job is
enqueued once, whichever process dies or hangs between the two.
"""

import asyncio
import datetime as dt
import functools
import logging
import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
from saq import Job
from saq.job import TERMINAL_STATUSES, Status
from saq.utils import now
from sqlalchemy import ColumnElement, TextClause, and_, delete, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from saqueduct.broker.outage import answering
from saqueduct.errors import DuplicateJob, EnqueueConflict, JobConflict, QueueUnavailable
from saqueduct.postgres.base import quoted
from saqueduct.postgres.models import RESOLUTION, JobRecord, OutboxJob
from saqueduct.postgres.outage import DEADLOCK, LOCK_NOT_AVAILABLE, sqlstate_of
from saqueduct.postgres.outbox_rows import WRITTEN, OutboxRows, columns, insert_into
from saqueduct.queue.aborting import BeingAborted
from saqueduct.queue.enqueuing import Answer
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.job import EngineJob, Enqueued, mark_of
from saqueduct.tasks.job_meta import DURABLE, REPLAY_OF
from saqueduct.timings import PostgresTimings

logger = logging.getLogger("saqueduct")

JOBS_PER_STATEMENT = 500
"""Most jobs that one statement writes, or one transaction publishes."""

PUBLISH_WITHIN = 60.0
"""Seconds that a publishing call to Redis may take; marks are kept longer."""

HOLD = 60
"""Seconds for which a job that is enqueued to be aborted does not start. If its abort is lost, it runs after that."""

DATABASE_AWAY = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
"""What SQLAlchemy and asyncpg raise when PostgreSQL is unavailable, restarts, or does not answer: while connecting
asyncpg's own errors arrive unwrapped, and SQLAlchemy wraps some that it does not know in its plain DBAPIError."""


class UnservedJobs(NamedTuple):
    """Jobs of one queue that no process handles."""

    queue: str
    jobs: int
    since: dt.datetime


class Outbox:
    """Jobs on their way from PostgreSQL to Redis.

    Args:
        engine: the store's own connections, whose statements find the tables in their schema.
        timings: intervals, waits and limits.
        schema: of the tables; None: what the `search_path` of a connection finds.
    """

    def __init__(self, engine: AsyncEngine, timings: PostgresTimings, schema: str | None = None) -> None:
        self._engine = engine
        self._timings = timings
        self.schema = schema
        self._blocked: set[tuple[str, str]] = set()
        """Queue and key of committed jobs that are blocked by a job which is being aborted."""

    def transaction(self, seconds: float | None = None) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction on one of the store's own connections, see `limited`; within `PostgresTimings.transaction`."""
        return limited(self._engine, self._timings.transaction if seconds is None else seconds)

    async def write(
        self, connection: AsyncSession | AsyncConnection, queue: EngineQueue, jobs: Sequence[Job]
    ) -> list[Enqueued]:
        """Write jobs in a transaction of the caller's.

        Returns:
            For each whether it was written; False if the outbox already has one with its key.

        Raises:
            EnqueueConflict: another transaction is writing jobs with these keys.
        """
        # Of two with one key the first counts. Sorted by key: transactions that write the same keys wait for each
        # other, and would deadlock if each held one that the other needs.
        of = OutboxRows(queue.core).of
        rows = {job.key: (of(job), place) for place, job in reversed(list(enumerate(jobs)))}
        keys = sorted(rows)
        written: set[str] = set()
        for first in range(0, len(keys), JOBS_PER_STATEMENT):
            chunk = [rows[key] for key in keys[first : first + JOBS_PER_STATEMENT]]
            written.update(await _write(connection, queue, chunk, self.schema))
        answers = []
        for job in jobs:
            answers.append(Enqueued(job.key, job.key in written))
            written.discard(job.key)
        return answers

    async def adopt(self, connection: AsyncConnection, queue: EngineQueue, jobs: Sequence[Job]) -> None:
        """Write durable jobs that Redis already has."""
        of = OutboxRows(queue.core).of
        rows = [of(job) | {"published_at": func.now()} for job in sorted(jobs, key=lambda job: job.key)]
        await connection.execute(insert(OutboxJob).values(rows).on_conflict_do_nothing())

    async def publish(
        self, queue: EngineQueue, which: ColumnElement[bool], *, held: bool = False
    ) -> dict[str, Enqueued]:
        """Enqueue some unpublished jobs of a queue, JOBS_PER_STATEMENT at most.

        Args:
            queue: the queue.
            which: the rows.
            held: see `hold`.

        Returns:
            By key, which job exists.

        Raises:
            QueueUnavailable: Redis did not answer; nothing is lost.
            SQLAlchemyError, asyncpg.PostgresError, OSError: PostgreSQL did not answer.
        """
        async with answering(queue.core.timings.answer):
            deadline = await queue.time() + PUBLISH_WITHIN
        async with self.transaction() as connection:
            jobs = await _taken(connection, queue, and_(OutboxJob.published_at.is_(None), which))
            if not jobs:
                return {}
            if held:
                _hold(jobs, deadline)
            async with answering(queue.core.timings.answer):
                answers = await queue.publish(jobs, deadline)
            answer_of = self.answers_by_key(queue, jobs, answers)
            await self._settle(connection, queue, [job for job in jobs if job.key in answer_of], answer_of)
        return answer_of

    def answers_by_key(
        self, queue: EngineQueue, jobs: Sequence[Job], answers: Sequence[Answer | None]
    ) -> dict[str, Enqueued]:
        """By key, which job exists now; without those that are blocked by a job which is being aborted."""
        found = {
            job.key: _reported(job, answer)
            for job, answer in zip(jobs, answers, strict=True)
            if not isinstance(answer, BeingAborted)
        }
        if self._blocked or len(found) < len(jobs):
            self._blocked.difference_update((queue.name, key) for key in found)
            self._blocked.update((queue.name, job.key) for job in jobs if job.key not in found)
        return found

    def take_blocked(self, queue: EngineQueue, keys: Sequence[str]) -> list[str]:
        """Which of these jobs are blocked by a job that is being aborted; they are no longer counted among those."""
        if not self._blocked:
            return []
        blocked = [key for key in keys if (queue.name, key) in self._blocked]
        self._blocked.difference_update((queue.name, key) for key in blocked)
        return blocked

    async def unresolve(self, job: Job, existing: str) -> None:
        """The job that should replay a dead letter is dropped, as the job `existing` exists: the dead letter waits
        again."""
        async with self.transaction() as connection:
            await _unresolve(connection, job, existing)

    async def hold(self, queue: EngineQueue, key: str) -> None:
        """Enqueue a committed job that Redis does not have, delayed by HOLD seconds, so that it can be aborted there.

        Raises:
            JobConflict: another process is enqueuing it.
            QueueUnavailable: Redis or PostgreSQL did not answer.
        """
        mine = OutboxJob.key == key
        try:
            if await self.publish(queue, mine, held=True):
                return
            await self.publish_again(queue, 0.0, mine, held=True)
            if await self.holds(queue, and_(mine, OutboxJob.published_at.is_(None))):
                raise JobConflict(key, "being enqueued", "aborted in this moment: try again")
        except DATABASE_AWAY as error:
            raise QueueUnavailable(f"PostgreSQL: {error}", server="PostgreSQL") from error

    async def holds(self, queue: EngineQueue, which: ColumnElement[bool]) -> bool:
        """True when such a row exists; otherwise some queries to Redis can be skipped."""
        async with self.transaction() as connection:
            found = await connection.execute(select(exists().where(OutboxJob.queue == queue.name, which)))
        return bool(found.scalar_one())

    async def find_schema(self, connection: AsyncConnection) -> str:
        """The schema in which the outbox is; the channel of its commits belongs to the whole database.

        Raises:
            NoResultFound: there is no outbox.
        """
        query = text("""
            SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE pg_class.oid = to_regclass(:place)
        """)
        found = await connection.execute(query, {"place": quoted("outbox", self.schema)})
        return str(found.scalar_one())

    async def left_elsewhere(self, looked_after: Sequence[str], idle: float) -> list[UnservedJobs]:
        """The jobs that no process handles, by queue.

        Args:
            looked_after: names of queues to leave out.
            idle: seconds since a job should have been enqueued, or since Redis was last known to have it.
        """
        before = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, idle)
        waits = or_(
            and_(OutboxJob.published_at.is_(None), OutboxJob.created_at < before), OutboxJob.published_at < before
        )
        query = select(OutboxJob.queue, func.count(), func.min(OutboxJob.created_at)).group_by(OutboxJob.queue)
        async with self.transaction() as connection:
            found = await connection.execute(query.where(OutboxJob.queue.not_in(looked_after), waits))
        return [UnservedJobs(*row) for row in found]

    async def _settle(
        self, connection: AsyncConnection, queue: EngineQueue, jobs: Sequence[Job], answer_of: Mapping[str, Enqueued]
    ) -> None:
        """Durable jobs stay until they have ended; the others have arrived, or are dropped because the job already
        exists."""
        kept = [job.key for job in jobs if job.meta.get(DURABLE) and answer_of[job.key].created]
        sent = [job.key for job in jobs if job.key not in set(kept)]
        here = OutboxJob.queue == queue.name
        if sent:
            await connection.execute(delete(OutboxJob).where(here, OutboxJob.key.in_(sent)))
        if kept:
            statement = update(OutboxJob).where(here, OutboxJob.key.in_(kept))
            await connection.execute(statement.values(published_at=func.now()))
        for job in jobs:
            if REPLAY_OF in job.meta and not answer_of[job.key].created:
                await _unresolve(connection, job, answer_of[job.key].key)

    async def publish_again(
        self, queue: EngineQueue, idle: float, which: ColumnElement[bool] | None = None, *, held: bool = False
    ) -> list[Job]:
        """Enqueue durable jobs again that Redis has forgotten.

        Args:
            queue: the queue.
            idle: seconds since Redis was last known to have a job, after which it is looked for.
            which: the rows; None: any.
            held: see `hold`.

        Returns:
            Those that have ended and whose end PostgreSQL does not know yet.
        """
        idly = and_(OutboxJob.durable, OutboxJob.published_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, idle))
        if which is not None:
            idly = and_(idly, which)
        if not await self.holds(queue, idly):
            return []
        async with answering(queue.core.timings.answer):
            deadline = await queue.time() + PUBLISH_WITHIN
        async with self.transaction() as connection:
            jobs = await _taken(connection, queue, idly)
            if not jobs:
                return []
            async with answering(queue.core.timings.answer):
                ended = await _ended(queue, jobs)
                lost = [job for job in jobs if job.key not in ended]
                if held:
                    _hold(lost, deadline)
                answers = await queue.publish(lost, deadline, again=True)
            again = [job.key for job, answer in zip(lost, answers, strict=True) if answer is not None]
            if again:
                logger.warning(
                    "queue %s: Redis had lost %d durable jobs, they are enqueued again", queue.name, len(again)
                )
            ended |= _replaced(zip(lost, answers, strict=True))
            statement = update(OutboxJob).where(OutboxJob.queue == queue.name)
            statement = statement.where(OutboxJob.key.in_([job.key for job in jobs]))
            await connection.execute(statement.values(published_at=func.now()))
        return list(ended.values())

    async def forget_marks(self, queue: EngineQueue) -> int:
        """Remove marks from Redis whose rows are gone and which no call can need any longer; returns how many."""
        async with answering(queue.core.timings.answer):
            marks = await queue.published_marks.old(2 * PUBLISH_WITHIN, JOBS_PER_STATEMENT)
        if not marks:
            return 0
        mark = func.concat(OutboxJob.key, "|", OutboxJob.queued, "|", OutboxJob.round)
        keys = [each.rsplit("|", 2)[0] for each in marks]
        query = select(mark).where(
            OutboxJob.queue == queue.name, OutboxJob.key.in_(keys), OutboxJob.published_at.is_(None)
        )
        async with self.transaction() as connection:
            needed = set((await connection.execute(query)).scalars())
        gone = [each for each in marks if each not in needed]
        async with answering(queue.core.timings.answer):
            await queue.published_marks.forget(gone)
        return len(gone)


@functools.cache
def _write_statement(schema: str | None) -> TextClause:
    return text(insert_into(schema, [f":{name}" for name in WRITTEN]))


async def _write(
    connection: AsyncSession | AsyncConnection,
    queue: EngineQueue,
    rows: Sequence[tuple[dict[str, Any], int]],
    schema: str | None,
) -> Iterable[str]:
    try:
        return (await connection.execute(_write_statement(schema), columns(rows))).scalars()
    except DBAPIError as error:
        if (state := sqlstate_of(error)) not in (DEADLOCK, LOCK_NOT_AVAILABLE):
            raise
        raise EnqueueConflict(queue.name, deadlock=state == DEADLOCK) from error


@asynccontextmanager
async def limited(engine: AsyncEngine, seconds: float) -> AsyncIterator[AsyncConnection]:
    """A transaction with a time limit in seconds.

    Raises:
        TimeoutError: it took longer.
    """
    try:
        async with asyncio.timeout(seconds), engine.begin() as connection:
            yield connection
    except TimeoutError as error:
        raise TimeoutError(str(error) or f"no answer within {seconds:g} s") from error


def _hold(jobs: Iterable[EngineJob], deadline: float) -> None:
    """Let jobs start HOLD seconds later, and neither replace others nor be replaced: they will be aborted."""
    for job in jobs:
        job.scheduled, job.claim = max(job.scheduled, math.ceil(deadline - PUBLISH_WITHIN + HOLD)), None


async def _taken(connection: AsyncConnection, queue: EngineQueue, which: ColumnElement[bool]) -> list[EngineJob]:
    """Lock some rows, JOBS_PER_STATEMENT at most; unreadable ones are set aside, for an operator to fix or delete."""
    query = select(OutboxJob.key, OutboxJob.job, OutboxJob.unique).where(OutboxJob.queue == queue.name, which)
    query = query.order_by(OutboxJob.created_at).limit(JOBS_PER_STATEMENT).with_for_update(skip_locked=True)
    rows, jobs = OutboxRows(queue.core), list[EngineJob]()
    for row in await connection.execute(query):
        try:
            jobs.append(rows.job(row._mapping))
        except (ValueError, TypeError, LookupError) as error:
            logger.error("the job %s of the outbox cannot be read, its row is set aside: %s", row.key, error)
            aside = update(OutboxJob).where(OutboxJob.queue == queue.name, OutboxJob.key == row.key)
            await connection.execute(aside.values(published_at=text("'infinity'")))
    return jobs


def _replaced(answers: Iterable[tuple[EngineJob, Answer | None]]) -> dict[str, Job]:
    """The forgotten jobs that a newer job would have replaced: they end as if it had."""
    ended: dict[str, Job] = {}
    for job, answer in answers:
        replaces = job.claim is not None and job.claim.replaces
        if replaces and isinstance(answer, Enqueued) and not answer.created:
            job.status, job.error, job.completed = Status.ABORTED, f"replaced by {answer.key}", now()
            ended[job.key] = job
    return ended


async def _unresolve(connection: AsyncConnection, job: Job, existing: str) -> None:
    """The job that should replay a dead letter is dropped: the dead letter waits again."""
    logger.warning("the replay %s of %s is dropped, the job %s already exists", job.key, job.meta[REPLAY_OF], existing)
    letter = update(JobRecord).where(JobRecord.key == job.meta[REPLAY_OF], JobRecord.replayed_as == job.key)
    await connection.execute(letter.values(dict.fromkeys(RESOLUTION)))


async def _ended(queue: EngineQueue, jobs: Sequence[Job]) -> dict[str, Job]:
    """Of these, those that have ended, as Redis knows them."""
    found = await queue.jobs([job.key for job in jobs])
    return {
        stored.key: stored
        for job, stored in zip(jobs, found, strict=True)
        if stored is not None and stored.status in TERMINAL_STATUSES and mark_of(stored) == mark_of(job)
    }


def _reported(job: Job, answer: Enqueued | DuplicateJob | None) -> Enqueued:
    if isinstance(answer, DuplicateJob):
        # The caller's transaction has committed: no caller is left to raise it to.
        logger.warning("the job %s of the outbox is dropped: %s", job.key, answer)
        return Enqueued(answer.existing, created=False)
    return answer or Enqueued(job.key, created=True)
