"""The relay: a worker watches the outbox.

It enqueues committed jobs that were left there, by a process that died or while Redis was unavailable, and it enqueues
durable jobs again that Redis has forgotten. Any number of workers may watch: rows are locked while a worker handles
them.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import and_, func
from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct.common.cancellation import end_if_cancelled
from saqueduct.postgres import early_ends
from saqueduct.postgres.models import CHANNEL, OutboxJob
from saqueduct.postgres.outbox import JOBS_PER_STATEMENT, Outbox, UnservedJobs
from saqueduct.postgres.recorder import JobRecorder
from saqueduct.postgres.unrecorded import UnrecordedEnds
from saqueduct.queue.queue import EngineQueue
from saqueduct.timings import PostgresTimings

logger = logging.getLogger("saqueduct")


class Relay:
    """Watches the outbox for some queues.

    Args:
        engine: the store's own connections.
        outbox: of this process.
        recorder: is notified of durable jobs whose end PostgreSQL did not know, and writes what a dead process left.
        unrecorded: what that is.
        known: all queues of this process by name, also those that none of its workers serves.
        forgotten_after: seconds since Redis was last known to have a durable job, after which Redis is asked for it.
        timings: intervals, waits and limits.
        listens: False where LISTEN does not work, as behind a PgBouncer that pools transactions.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        outbox: Outbox,
        recorder: JobRecorder,
        unrecorded: UnrecordedEnds,
        known: Mapping[str, EngineQueue],
        forgotten_after: float,
        timings: PostgresTimings,
        *,
        listens: bool,
    ) -> None:
        self._engine = engine
        self._unrecorded = unrecorded
        self._outbox = outbox
        self._known = known
        self._recorder = recorder
        self._forgotten_after = forgotten_after
        self.timings = timings
        self._listens = listens
        self._news = asyncio.Event()
        self._failing = False
        self._next: dict[Callable[..., Any], float] = {}

    async def run(self, queues: Sequence[EngineQueue]) -> None:
        """Watch until cancelled."""
        listening = asyncio.create_task(self._listen()) if self._listens else None
        try:
            while True:
                # The list changes as workers start and stop.
                wait = await self._look(list(queues))
                end_if_cancelled()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._news.wait()
                    # Commits that are reported from here on may be too young for the check after the pause: they get
                    # another one.
                    self._news.clear()
                    # The process that committed is about to enqueue it.
                    await asyncio.sleep(self.timings.publish_grace)
        finally:
            if listening is not None:
                listening.cancel()
                await asyncio.wait([listening])

    async def look(self, queues: Sequence[EngineQueue], grace: float | None = None) -> int:
        """Enqueue what was left in the outbox for `grace` seconds, by default `publish_grace`; returns how many."""
        grace = self.timings.publish_grace if grace is None else grace
        old = OutboxJob.created_at <= func.now() - func.make_interval(0, 0, 0, 0, 0, 0, grace)
        count = 0
        for queue in queues:
            if not await self._outbox.holds(queue, and_(OutboxJob.published_at.is_(None), old)):
                continue
            while sent := len(await self._outbox.publish(queue, old)):
                count += sent
                if sent < JOBS_PER_STATEMENT:
                    break
        return count

    async def reconcile(self, queues: Sequence[EngineQueue]) -> None:
        """Enqueue durable jobs again that Redis has forgotten, and delete the rows of those that have ended."""
        for queue in queues:
            if jobs := await self._outbox.publish_again(queue, self._forgotten_after):
                self._recorder.add(jobs)

    async def record_left(self, queues: Sequence[EngineQueue], age: float | None = None) -> bool:
        """Write the ends that Redis has kept for `age` seconds or longer: the process that should write them has died.

        Args:
            queues: whose ends.
            age: seconds; `end_grace` by default.

        Returns:
            True when there are younger ones.
        """
        age = self.timings.end_grace if age is None else age
        younger = False
        for queue in queues:
            async for left in self._unrecorded.left(queue, age):
                younger |= left.younger
                if left.jobs:
                    await self._recorder.write(left.jobs)
                    logger.info("queue %s: %d ends of jobs were left unrecorded", queue.name, len(left.jobs))
        return younger

    async def look_elsewhere(self, queues: Sequence[EngineQueue], idle: float | None = None) -> None:
        """Handle the jobs of queues that no worker serves, and report those of unknown queues.

        Args:
            queues: are handled anyway.
            idle: seconds for which no other process did; by default far longer than a worker of those queues would
                take.
        """
        idle = self.timings.other_queues_check + 4 * self._forgotten_after if idle is None else idle
        left = await self._outbox.left_elsewhere([queue.name for queue in queues], idle)
        if known := [self._known[each.queue] for each in left if each.queue in self._known]:
            await self.look(known)
            await self.reconcile(known)
        strays = "; ".join(_described(each) for each in left if each.queue not in self._known)
        if strays and strays != self._recorder.strays:
            logger.warning("%s", strays)
        self._recorder.strays = strays

    async def _forget_marks(self, queues: Sequence[EngineQueue]) -> None:
        for queue in queues:
            while await self._outbox.forget_marks(queue) == JOBS_PER_STATEMENT:
                pass
        async with self._outbox.transaction() as connection:
            await early_ends.forget(connection, self.timings.early_end_kept)

    async def _look(self, queues: Sequence[EngineQueue]) -> float:
        """One check; returns the seconds until the next."""
        wait = min(self.timings.outbox_check, self._forgotten_after / 4)
        try:
            self._recorder.crowded = await self._unrecorded.crowded(queues)
            if sent := await self.look(queues):
                logger.info("%d jobs were left in the outbox and are enqueued now", sent)
            await self._every(self._forgotten_after / 4, self.reconcile, queues)
            await self._every(self.timings.marks_check, self._forget_marks, queues)
            await self._every(self.timings.other_queues_check, self.look_elsewhere, queues)
            if await self.record_left(queues):
                wait = min(wait, self.timings.end_grace)
        except Exception as error:
            if not self._failing:
                logger.warning("could not read the outbox, retrying: %s", error)
            self._failing = True
            return self.timings.outbox_retry
        if self._failing:
            logger.info("the outbox can be read again")
            self._failing = False
        return wait

    async def _every(self, seconds: float, call: Callable[..., Any], queues: Sequence[EngineQueue]) -> None:
        if time.monotonic() >= self._next.get(call, 0.0):
            await call(queues)
            self._next[call] = time.monotonic() + seconds

    async def _listen(self) -> None:
        """Listen for commits on a separate connection."""
        while True:
            with suppress(Exception):
                async with self._engine.connect() as connection:
                    schema = await self._outbox.find_schema(connection)
                    # LISTEN takes effect when its transaction ends: that query has begun one, which would stay open.
                    await connection.commit()
                    raw: Any = (await connection.get_raw_connection()).driver_connection
                    gone = asyncio.Event()
                    raw.add_termination_listener(lambda _, gone=gone: gone.set())
                    await raw.add_listener(CHANNEL, partial(self._hear, schema))
                    self._news.set()
                    try:
                        end_if_cancelled()
                        await gone.wait()
                    finally:
                        # Not returned to the pool: its next user would receive these notifications too.
                        raw.terminate()
                        await connection.invalidate()
            await asyncio.sleep(self.timings.outbox_retry)

    def _hear(self, schema: str, _connection: Any, _pid: int, _channel: str, message: str) -> None:
        """A commit in this database; `message` is the schema of its outbox, empty from triggers of earlier releases."""
        if message in ("", schema):
            self._news.set()


def _described(left: UnservedJobs) -> str:
    return (
        f"{left.jobs} jobs of the queue {left.queue!r} wait in the outbox since {left.since:%Y-%m-%d %H:%M} UTC, and "
        "no queue of that name is configured: add it to `queues` (QUEUE_NAMES) and run a worker for it, or delete "
        "those rows of the table outbox"
    )
