"""The publisher: enqueues jobs of the outbox in the process that has committed them.

It locks no rows: the mark that the script sets in Redis keeps a job from being enqueued twice, also if the relay of a
worker is publishing it at the same time. That the jobs are in Redis is noted in their rows afterwards, many at a time,
while the jobs run.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any, NamedTuple

from saq import Job

from saqueduct.broker.batching import Batches
from saqueduct.broker.outage import answering, is_silent
from saqueduct.common.own_context import create_shared_task
from saqueduct.errors import QueueUnavailable
from saqueduct.postgres.base import quoted
from saqueduct.postgres.direct import DirectConnections
from saqueduct.postgres.outbox import DATABASE_AWAY, JOBS_PER_STATEMENT, PUBLISH_WITHIN, Outbox
from saqueduct.postgres.outbox_rows import WRITTEN, OutboxRows, columns, insert_into
from saqueduct.queue.aborting import Patience
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.job import EngineJob, Enqueued
from saqueduct.tasks.job_meta import DURABLE, REPLAY_OF, ROUND
from saqueduct.timings import PostgresTimings

logger = logging.getLogger("saqueduct")


WRITERS = 2
"""Transactions that write durable jobs at the same time. One with a key that another transaction is writing waits for
that, and so uses up a connection."""

SLOWEST = 1000
"""Jobs that a slow PostgreSQL writes in a second; so much longer may a call with many jobs take."""


class _New(NamedTuple):
    """A durable job with a random key, and its row."""

    job: EngineJob
    row: dict[str, Any]


class _Written(NamedTuple):
    """A job whose row is committed, and the deadline of the call to Redis, see `Publisher.deadline`."""

    job: EngineJob
    deadline: float | None


class _Sent(NamedTuple):
    """A row whose job is in Redis, or is dropped."""

    queue: str
    key: str
    queued: int
    round: int


@functools.cache
def _committed_statement(schema: str | None) -> str:
    return f"""
        SELECT job, CAST("unique" AS text) AS "unique" FROM {quoted("outbox", schema)}
        WHERE queue = $1 AND key = ANY($2::text[]) AND published_at IS NULL ORDER BY created_at
    """  # noqa: S608  (a quoted name)


@functools.cache
def _sent_statement(schema: str | None, *, kept: bool) -> str:
    """Deletes rows, or notes that Redis has their jobs. Locked ones are left to whoever holds them, or to the relay.

    If PostgreSQL crashes, its last half second of this may be lost, and the relay finds the marks in Redis: no need to
    wait for the disk.
    """
    outbox = quoted("outbox", schema)
    free = f"""
        WITH free AS (
            SELECT o.queue, o.key FROM {outbox} AS o
            JOIN unnest($1::text[], $2::text[], $3::bigint[], $4::smallint[]) AS sent(queue, key, queued, round)
                ON o.queue = sent.queue AND o.key = sent.key AND o.queued = sent.queued AND o.round = sent.round
            WHERE (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL
            FOR UPDATE OF o SKIP LOCKED
        )"""  # noqa: S608
    same = "o.queue = free.queue AND o.key = free.key"
    if kept:
        return f"{free} UPDATE {outbox} AS o SET published_at = now() FROM free WHERE {same}"  # noqa: S608
    return f"{free} DELETE FROM {outbox} AS o USING free WHERE {same}"  # noqa: S608


@functools.cache
def _write_statement(schema: str | None) -> str:
    return insert_into(schema, [f"${number}" for number, _ in enumerate(WRITTEN, 1)])


class Publisher:
    """Enqueues committed jobs, and durable jobs.

    Args:
        outbox: whose jobs they are.
        direct: connections for frequent statements.
        timings: intervals, waits and limits.
    """

    def __init__(self, outbox: Outbox, direct: DirectConnections, timings: PostgresTimings) -> None:
        self._outbox = outbox
        self._timings = timings
        self._direct = direct
        self._writers = asyncio.Semaphore(WRITERS)
        self._sent: dict[bool, list[_Sent]] = {True: [], False: []}
        """What is to be noted: True: in rows that stay, False: of rows to delete."""
        self._noting: asyncio.Task[None] | None = None
        self._new: dict[str, tuple[Batches[_New, float | None], Batches[_Written, Enqueued]]] = {}
        """By queue, the calls that enqueue one durable job: they share statements and calls to Redis."""

    def serve(self, queue: EngineQueue) -> None:
        """Enqueue jobs of this queue."""
        self._new[queue.name] = (
            Batches(partial(self._write_new, queue), JOBS_PER_STATEMENT, _sizes, most_bytes=queue.core.batch_bytes),
            Batches(partial(self._publish_new, queue), JOBS_PER_STATEMENT),
        )

    async def send(self, queue: EngineQueue, jobs: Sequence[Job]) -> list[Enqueued]:
        """Write durable jobs in a transaction of their own, and enqueue them.

        Raises:
            QueueUnavailable: PostgreSQL did not answer. An outage of Redis is no error: the jobs are in PostgreSQL.
        """
        if len(jobs) == 1 and isinstance(jobs[0], EngineJob) and jobs[0].new_key == jobs[0].key:
            return [await self._send_new(queue, jobs[0])]
        deadline, began = await self.deadline(queue), time.monotonic()
        answers = await self._write(queue, jobs)
        # The first job of a key was written.
        created = [job for job, answer in zip(jobs, answers, strict=True) if answer.created]
        answer_of = await self._publish(queue, created, deadline, began)
        answer_of |= await self.outlast(queue, [job.key for job in created])
        return [answer_of.get(answer.key, answer) for answer in answers]

    async def _write(self, queue: EngineQueue, jobs: Sequence[Job]) -> list[Enqueued]:
        seconds = self._timings.transaction + len(jobs) / SLOWEST
        try:
            async with asyncio.timeout(seconds), self._writers, self._outbox.transaction(seconds) as connection:
                return await self._outbox.write(connection, queue, jobs)
        except DATABASE_AWAY as error:
            reason = str(error) or f"no answer within {seconds:g} s"
            raise QueueUnavailable(f"PostgreSQL: {reason}", server="PostgreSQL") from error

    async def _publish(
        self, queue: EngineQueue, jobs: Sequence[Job], deadline: float | None, began: float
    ) -> dict[str, Enqueued]:
        answer_of: dict[str, Enqueued] = {}
        for first in range(0, len(jobs), JOBS_PER_STATEMENT):
            if time.monotonic() - began > PUBLISH_WITHIN / 2:
                # The relay of a worker may have published the rest.
                return answer_of | await self.committed(queue, [job.key for job in jobs[first:]])
            found = await self.written(queue, jobs[first : first + JOBS_PER_STATEMENT], deadline, within_call=True)
            if found is None:
                break
            answer_of |= found
        return answer_of

    async def _send_new(self, queue: EngineQueue, job: EngineJob) -> Enqueued:
        """Send a job with a random key, together with others: none has to wait for another transaction."""
        write, publish = self._new[queue.name]
        deadline = await write.add(_New(job, OutboxRows(queue.core).of(job)))
        sent = publish.add(_Written(job, deadline))
        answer = await (self._within_request(queue, job, sent) if is_silent() else sent)
        return (await self.outlast(queue, [job.key])).get(job.key, answer)

    async def _within_request(self, queue: EngineQueue, job: EngineJob, sent: Awaitable[Enqueued]) -> Enqueued:
        """The answer to a job that is written, or that it is written: a request that has waited for Redis before gets
        only what is left of that time, while the call that it shares has its own."""
        try:
            async with answering(queue.core.timings.answer):
                return await sent
        except QueueUnavailable:
            return Enqueued(job.key, created=True)

    async def _write_new(self, queue: EngineQueue, jobs: Sequence["_New"]) -> list[float | None]:
        deadline = await self.deadline(queue)
        rows = [(row, place) for place, (_, row) in enumerate(jobs)]
        values = columns(rows).values()
        try:
            await self._direct.fetch(_write_statement(self._outbox.schema), *values, seconds=self._timings.transaction)
        except DATABASE_AWAY as error:
            raise QueueUnavailable(f"PostgreSQL: {error}", server="PostgreSQL") from error
        return [deadline] * len(jobs)

    async def _publish_new(self, queue: EngineQueue, jobs: Sequence["_Written"]) -> list[Enqueued]:
        known = [deadline for _, deadline in jobs if deadline is not None]
        deadline = min(known) if len(known) == len(jobs) else None
        answer_of = await self.written(queue, [job for job, _ in jobs], deadline, within_call=True) or {}
        return [answer_of.get(job.key) or Enqueued(job.key, created=True) for job, _ in jobs]

    async def deadline(self, queue: EngineQueue) -> float | None:
        """When a call to Redis comes too late for rows that are read or written from now on; None: Redis is away."""
        try:
            async with answering(queue.core.timings.answer):
                return await queue.core.time_about() + PUBLISH_WITHIN
        except QueueUnavailable:
            return None

    async def committed(self, queue: EngineQueue, keys: Sequence[str]) -> dict[str, Enqueued]:
        """Enqueue the jobs of these keys, if they are committed; what cannot be enqueued now is left to the relay."""
        answer_of: dict[str, Enqueued] = {}
        for first in range(0, len(keys), JOBS_PER_STATEMENT):
            try:
                deadline = await self.deadline(queue)
                rows = await self._direct.fetch(
                    _committed_statement(self._outbox.schema),
                    queue.name,
                    keys[first : first + JOBS_PER_STATEMENT],
                    seconds=self._timings.transaction,
                )
            except DATABASE_AWAY as error:
                self._leave(queue, len(keys) - first, error)
                break
            if (found := await self.written(queue, list(OutboxRows(queue.core).readable(rows)), deadline)) is None:
                break
            answer_of |= found
        return answer_of

    async def written(
        self, queue: EngineQueue, jobs: Sequence[Job], deadline: float | None, *, within_call: bool = False
    ) -> dict[str, Enqueued] | None:
        """Enqueue jobs whose rows are committed.

        Args:
            queue: of the jobs.
            jobs: JOBS_PER_STATEMENT at most, as they are in their rows.
            deadline: see `deadline`; taken before the rows were read or written.
            within_call: see `EngineQueue.publish`.

        Returns:
            By key, which job exists now; None when Redis did not answer, and they are left to the relay.
        """
        try:
            if deadline is None:
                raise QueueUnavailable("the clock of Redis could not be read")
            async with answering(queue.core.timings.answer):
                answers = await queue.publish(jobs, deadline, within_call=within_call)
        except QueueUnavailable as error:
            self._leave(queue, len(jobs), error)
            return None
        answer_of = self._outbox.answers_by_key(queue, jobs, answers)
        for job in jobs:
            if job.key in answer_of:
                await self._note(queue, job, answer_of[job.key])
        return answer_of

    async def outlast(self, queue: EngineQueue, keys: Sequence[str]) -> dict[str, Enqueued]:
        """Enqueue those of some committed jobs that are blocked by a job which is being aborted, once that has
        ended."""
        answer_of: dict[str, Enqueued] = {}
        patience = Patience(queue.core.timings)
        while blocked := self._outbox.take_blocked(queue, keys):
            if patience.over:
                logger.warning("queue %s: %d jobs wait in the outbox for aborted ones to end", queue.name, len(blocked))
                break
            await asyncio.sleep(queue.core.timings.abort_look)
            answer_of |= await self.committed(queue, blocked)
        return answer_of

    async def flush(self, seconds: float) -> None:
        """Wait until all is noted, for at most so long."""
        if self._noting is not None and not self._noting.done():
            await asyncio.wait([self._noting], timeout=seconds)
            self._noting.cancel()
            await asyncio.wait([self._noting])

    def _leave(self, queue: EngineQueue, count: int, error: Exception) -> None:
        logger.warning("queue %s: %d jobs wait in the outbox: %s", queue.name, count, error)

    async def _note(self, queue: EngineQueue, job: Job, answer: Enqueued) -> None:
        """Durable jobs stay until they have ended; the others have arrived, or are dropped because the job already
        exists."""
        meta = job.meta
        if not answer.created and REPLAY_OF in meta:
            await self._outbox.unresolve(job, answer.key)
        sent = _Sent(queue.name, job.key, job.queued, int(meta.get(ROUND, 0)))
        self._sent[bool(meta.get(DURABLE)) and answer.created].append(sent)
        if self._noting is None or self._noting.done():
            self._noting = create_shared_task(self._note_all())

    async def _note_all(self) -> None:
        while any(self._sent.values()):
            for kept, rows in self._sent.items():
                some = rows[:JOBS_PER_STATEMENT]
                del rows[:JOBS_PER_STATEMENT]
                if not some:
                    continue
                try:
                    columns = map(list, zip(*some, strict=True))
                    await self._direct.fetch(
                        _sent_statement(self._outbox.schema, kept=kept), *columns, seconds=self._timings.transaction
                    )
                except DATABASE_AWAY as error:
                    logger.debug("the relay will note that %d jobs were published: %s", len(some), error)


def _sizes(jobs: Sequence[_New]) -> list[int]:
    return [len(row["job"]) for _, row in jobs]
