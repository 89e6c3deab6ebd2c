"""The recorder: writes job records, many in one statement, without making a job wait."""

import asyncio
import logging
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import islice

from saq import Job
from saq.job import TERMINAL_STATUSES, Status
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from saqueduct.broker.batching import Batches
from saqueduct.common.own_context import create_shared_task
from saqueduct.postgres.binary_copy import unpack
from saqueduct.postgres.ended_rows import ended_before
from saqueduct.postgres.ends import Ends
from saqueduct.postgres.outage import sqlstate_of
from saqueduct.postgres.outbox import DATABASE_AWAY, limited
from saqueduct.postgres.partition_layout import no_partition
from saqueduct.postgres.records import Rows, had_record
from saqueduct.postgres.rows import Identity, Row, identity
from saqueduct.postgres.unrecorded import UnrecordedEnds
from saqueduct.sizes import Sizes
from saqueduct.tasks.completion import Ended
from saqueduct.tasks.job import mark_of, own_fields
from saqueduct.tasks.job_meta import DURABLE
from saqueduct.timings import PostgresTimings

logger = logging.getLogger("saqueduct")

RECORDS_AT_ONCE = 5000
"""Records that one statement writes at most."""

MANY = 200
"""Records in a batch from which the next one waits for longer."""

ENDS = 500
"""Durable jobs whose ends one transaction writes at most."""

LOOKUPS = 100
"""Most jobs that one statement queries."""

REFUSED = ("22", "23", "54")
"""Classes of SQLSTATE which mean that a record is at fault, and not the server: wrong data, constraints, and limits
such
as the size of an index entry. See PostgreSQL's manual, appendix "Error Codes"."""


class JobRecorder:
    """Buffers the records of one process and writes them.

    Args:
        engine: the store's own connections.
        rows: makes them.
        unrecorded: is notified of written ends that Redis keeps.
        ends: writes those of durable jobs.
        timings: intervals, waits and limits.
        sizes: how much may wait here.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        rows: Rows,
        unrecorded: UnrecordedEnds,
        ends: Ends,
        timings: PostgresTimings,
        sizes: Sizes,
    ) -> None:
        self.engine = engine
        self._timings = timings
        self._sizes = sizes
        self._ends = ends
        self._unrecorded = unrecorded
        self.rows = rows
        # Jobs of a dead worker come back together: one connection queries all of them.
        self._lookups = Batches(self._completed, LOOKUPS)
        self._waiting: deque[Row | bytes] = deque()
        """Records; those of plain successes are packed, see `successes.py`."""
        self._ended: deque[Job] = deque()
        """Durable jobs that ended without a worker, for example by an abort."""
        self._writer: asyncio.Task[None] | None = None
        self.away_since: float | None = None
        """Seconds of the monotonic clock since which PostgreSQL does not answer; None: it does."""
        self._suspended_until = 0.0
        self.fill: Callable[[], Awaitable[None]] | None = None
        """Makes partitions for times that have none."""
        self.dropped = 0
        """Records that were lost because the buffer was full."""

        self.strays = ""
        """Jobs of the outbox that no process handles, as text; empty: none."""
        self.crowded = False
        """True when Redis keeps as many ends for PostgreSQL as allowed, see `Unrecorded`."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._ended)

    @property
    def full(self) -> bool:
        """True when more jobs end than PostgreSQL can write; while it is unavailable, only when Redis keeps too many
        ends."""
        return self.crowded or (len(self._waiting) > self._sizes.full_records and self.away_since is None)

    @property
    def away(self) -> bool:
        """True while PostgreSQL does not answer."""
        return self.away_since is not None

    def needs(self, job: Job) -> bool:
        """True for a job that has ended, and whose end Redis keeps until it is written: see `queue/unrecorded.py`."""
        if own_fields(job).recorded:
            return False
        if job.meta.get(DURABLE):
            return True
        return (job.status != Status.COMPLETE or had_record(job)) and self.rows.wanted(job)

    @property
    def suspended(self) -> bool:
        """True while jobs commit without their records, which are written later."""
        return self.away_since is not None or time.monotonic() < self._suspended_until

    def suspend(self) -> None:
        """A record could not be written in the transaction of its job: the next jobs must not wait for that."""
        self._suspended_until = time.monotonic() + self._timings.record_suspension

    @property
    def problem(self) -> str:
        """What keeps records from being written, as text; empty: nothing. May be called from any thread."""
        since = self.away_since
        problems = []
        if since is not None:
            problems.append(
                f"PostgreSQL has taken no job records for {time.monotonic() - since:.0f} s: "
                f"{len(self)} wait, {self.dropped} were dropped"
            )
        if self.crowded:
            problems.append(
                "no jobs are taken until PostgreSQL has the ends of jobs that Redis keeps for it: too many wait"
            )
        if self.strays:
            problems.append(self.strays)
        return "; ".join(problems)

    def add(self, jobs: Sequence[Job]) -> None:
        """Write records of jobs whose tasks want them; the outbox rows of durable ones that have ended are deleted."""
        for job, packed in zip(jobs, self.rows.packed(jobs), strict=True):
            if packed is not None:
                self._waiting.append(packed)
            else:
                self._add(job)
        while len(self._waiting) > self._sizes.waiting_records:
            self._drop_oldest()
        if len(self) and (self._writer is None or self._writer.done()):
            self._writer = create_shared_task(self._write_all())

    def _add(self, job: Job) -> None:
        try:
            if own_fields(job).recorded:
                return
            if job.meta and job.meta.get(DURABLE) and job.status in TERMINAL_STATUSES:
                # Redis keeps those that do not fit here.
                if len(self._ended) < self._sizes.waiting_ends:
                    self._ended.append(job)
            elif (row := self.rows.of(job)) is not None:
                self._waiting.append(row)
        except Exception:
            logger.exception("could not record the outcome of the job %s", job.key)

    async def close(self, jobs: Sequence[Job]) -> list[bool | None]:
        """Write immediately that durable jobs have ended.

        Returns:
            For each False when it had ended before: another attempt was first; None when it will be written later,
            because another transaction has locked its row.

        Raises:
            Exception: PostgreSQL did not take it within `PostgresTimings.end_write`.
        """
        try:
            return await self._end(jobs, self._timings.end_write)
        except Exception as error:
            self._away(error)
            raise

    async def write(self, jobs: Sequence[Job]) -> None:
        """Write immediately the ends of jobs that Redis keeps, and let Redis forget them.

        Raises:
            Exception: PostgreSQL did not take it.
        """
        held: set[Identity] = set()
        if durable := [job for job in jobs if job.meta.get(DURABLE)]:
            counts = await self._end(durable, self._timings.write)
            held = {identity(job) for job, first in zip(durable, counts, strict=True) if first is None}
        await self._write([row for job in jobs if not job.meta.get(DURABLE) and (row := self.rows.of(job)) is not None])
        written = [job for job in jobs if identity(job) not in held]
        await self._unrecorded.forget([(job.get_queue().name, mark_of(job)) for job in written])

    async def completed(self, job: Job) -> Ended | None:
        """How a job has completed, or a durable one has ended, if PostgreSQL knows that it has; None when it does not
        answer."""
        return await self._lookups.add(job)

    async def _completed(self, jobs: Sequence[Job]) -> Sequence[Ended | None]:
        try:
            async with limited(self.engine, self._timings.lookup) as connection:
                completed = await self.rows.completed(connection, jobs)
                others = [job for job in jobs if identity(job) not in completed]
                found = await ended_before(connection, others, self.rows.schema)
        except DATABASE_AWAY as error:
            logger.warning("could not check whether %d jobs had completed before: %s", len(jobs), error)
            return [None] * len(jobs)
        found |= {each: Ended(result) for each, (result,) in completed.items()}
        return [found.get(identity(job)) for job in jobs]

    def _transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return limited(self.engine, self._timings.write)

    async def flush(self, seconds: float) -> None:
        """Write what waits, for at most so long."""
        if self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer], timeout=seconds)
        if self._writer is not None and not self._writer.done():
            self._writer.cancel()
            await asyncio.wait([self._writer])
        kept = len(self._ended) + len(_kept(self._waiting))
        if kept:
            logger.warning("%d ends of jobs stay in Redis, and are written by the next worker", kept)
        if lost := len(self) - kept:
            logger.error("%d job records are lost: PostgreSQL did not accept them in time", lost)

    def _drop_oldest(self) -> None:
        if _kept([self._waiting.popleft()]):
            return
        if not self.dropped:
            logger.error(
                "PostgreSQL has been unavailable for too long: the oldest of %d job records are dropped",
                self._sizes.waiting_records,
            )
        self.dropped += 1

    async def _write_all(self) -> None:
        failures = 0
        while self:
            batch = [self._waiting.popleft() for _ in range(min(RECORDS_AT_ONCE, len(self._waiting)))]
            try:
                await self._write(batch)
                await self._unrecorded.forget([(row.queue, row.mark) for row in _kept(batch)])
                written, batch = len(batch), []
                await self._end_some()
            except asyncio.CancelledError:
                # They are counted among those that are lost.
                self._waiting.extendleft(reversed(batch))
                raise
            except Exception as error:
                self._keep(batch, error)
                failures += 1
                await asyncio.sleep(min(self._timings.longest_write_pause, 0.2 * 2**failures))
                continue
            failures = 0
            if self.away_since is not None:
                logger.info("PostgreSQL is back, %d job records waited", len(self._waiting) + written)
                self.away_since = None
            if written < RECORDS_AT_ONCE:
                # No caller waits for a record.
                await asyncio.sleep(self._linger(written))

    def _linger(self, written: int) -> float:
        """Seconds until the next batch, after one with so many records."""
        if self._ended and not self._waiting:
            return self._timings.locked_retry
        return self._timings.batch_pause if written < MANY else self._timings.long_batch_pause

    def _keep(self, batch: Sequence[Row | bytes], error: Exception) -> None:
        """PostgreSQL is unavailable, or its tables do not exist yet: the records wait."""
        self._waiting.extendleft(reversed(batch))
        self._away(error)

    def _away(self, error: Exception) -> None:
        if self.away_since is None:
            self.away_since = time.monotonic()
            logger.warning("job records wait, PostgreSQL does not accept them: %s", error)

    async def _end_some(self) -> None:
        left = len(self._ended)
        while left > 0:
            batch = list(islice(self._ended, min(ENDS, left)))
            counts = await self._end(batch, self._timings.write)
            held = [job for job, first in zip(batch, counts, strict=True) if first is None]
            written = [job for job, first in zip(batch, counts, strict=True) if first is not None]
            await self._unrecorded.forget([(job.get_queue().name, mark_of(job)) for job in written])
            for _ in batch:
                self._ended.popleft()
            # Behind those that arrived meanwhile, and retried with them.
            self._ended.extend(held)
            left -= len(batch)

    async def _end(self, jobs: Sequence[Job], seconds: float) -> list[bool | None]:
        """Delete the outbox rows of durable jobs in one transaction; one whose record PostgreSQL refuses does not block
        the others."""
        try:
            return await self._ends.write(jobs, seconds)
        except Exception as error:
            if not refused(error):
                await self._fill(error)
                raise
            if len(jobs) > 1:
                return [counts for job in jobs for counts in await self._end([job], seconds)]
            logger.error("the end of the job %s cannot be recorded: %s", jobs[0].key, error)
        # Deleted anyway: otherwise it would look like one that Redis has forgotten, and run again.
        return await self._ends.write(jobs, seconds, record=False)

    async def _write(self, batch: Sequence[Row | bytes]) -> None:
        """Write a batch; one record that PostgreSQL refuses does not keep the others from being written."""
        if not batch:
            return
        try:
            async with self._transaction() as connection:
                await self.rows.write(connection, batch)
        except Exception as error:
            if not refused(error):
                await self._fill(error)
                raise
            for row in batch:
                await self._write_alone(unpack(row) if isinstance(row, bytes) else row)

    async def _fill(self, error: Exception) -> None:
        """Make the partition that a record lacks; the record is kept, and written after that."""
        if self.fill is not None and no_partition(error):
            await self.fill()

    async def _write_alone(self, row: Row) -> None:
        try:
            async with self._transaction() as connection:
                await self.rows.write(connection, [row], copy=False)
        except Exception as error:
            if not refused(error):
                raise
            logger.error("the record of the job %s cannot be written: %s", row.key, error)


def _kept(rows: Iterable[Row | bytes]) -> list[Row]:
    """Of these, the ends that Redis keeps until they are written."""
    return [row for row in rows if not isinstance(row, bytes) and row.kept]


def refused(error: Exception) -> bool:
    """True when a record is at fault, and not the server: a retry would block all others."""
    if no_partition(error):
        return False
    # Values that cannot be encoded for COPY, which bypasses SQLAlchemy, raise Python's own errors.
    return sqlstate_of(error)[:2] in REFUSED or isinstance(error, TypeError | ValueError | OverflowError | struct.error)
