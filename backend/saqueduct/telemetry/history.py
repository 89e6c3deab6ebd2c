"""The history writer: adds what the counters of this process have counted to the history in PostgreSQL."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from saqueduct.common.clock import time_now
from saqueduct.postgres.time_series import Numbers, Place
from saqueduct.postgres.time_steps import MINUTE
from saqueduct.telemetry.counters import JobCounters, TaskCounters, all_tasks

logger = logging.getLogger("saqueduct")

EVERY: Final = 5.0
"""Seconds between two writes; a process that is killed loses what it has counted since the last one."""

FLUSH: Final = 3.0
"""Seconds that a process which ends gets to write."""

MOST: Final = 20_000
"""Most minutes of a task that wait while PostgreSQL is unavailable."""


class HistoryStore(Protocol):
    """Keeps the history."""

    async def add_history(self, found: Mapping[Place, Numbers]) -> None: ...


class HistoryWriter:
    """Writes what changed since its last write. A job costs nothing here: its numbers are those of the metrics.

    Args:
        counters: of the queues of this process.
        store: in PostgreSQL.
        every: seconds between two writes.
    """

    def __init__(self, counters: Sequence[JobCounters], store: HistoryStore, every: float = EVERY) -> None:
        self._counters = counters
        self._store = store
        self._every = every
        self._seen: dict[tuple[str, str], Numbers] = {}
        self._waiting: dict[Place, Numbers] = {}
        self._away = False
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write periodically, in the running event loop; a second call does nothing."""
        loop = asyncio.get_running_loop()
        if self._writer is None or self._writer.done() or self._writer.get_loop() is not loop:
            self._writer = loop.create_task(self._run())

    async def stop(self) -> None:
        """Write what is left, for at most FLUSH seconds."""
        writer, self._writer = self._writer, None
        if writer is not None and writer.get_loop() is asyncio.get_running_loop():
            writer.cancel()
            await asyncio.wait([writer])
        try:
            async with asyncio.timeout(FLUSH):
                await self.write()
        except Exception as error:
            logger.info("the last %d minutes of the history are lost: %s", len(self._waiting), error)

    async def write(self) -> None:
        """Write what changed.

        Raises:
            Exception: PostgreSQL did not take it; it waits for the next write.
        """
        self._collect()
        if self._waiting:
            batch, self._waiting = self._waiting, {}
            try:
                await self._store.add_history(batch)
            except BaseException:
                self._waiting = batch
                raise

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.write()
            except Exception as error:
                if not self._away:
                    logger.warning("the history waits, PostgreSQL does not accept it: %s", error)
                self._away = True
            else:
                self._away = False

    def _collect(self) -> None:
        minute = int(time_now()) // MINUTE * MINUTE
        for queue, task, counters in all_tasks(self._counters):
            now, before = numbers_of(counters), self._seen.get((queue, task))
            new = now if before is None else now.plus(before, -1)
            if new.empty:
                continue
            self._seen[queue, task] = now
            place = Place(minute, queue, task)
            self._waiting[place] = self._waiting[place].plus(new) if place in self._waiting else new
        while len(self._waiting) > MOST:
            del self._waiting[next(iter(self._waiting))]


def numbers_of(counters: TaskCounters) -> Numbers:
    """What a task's counters say now."""
    finished, attempts = counters.finished_by_status(), counters.attempts
    counts = [
        counters.enqueued,
        *(finished.get(status, 0) for status in ("complete", "failed", "aborted")),
        attempts["retried"],
        counters.recovered,
    ]
    wait, run = counters.wait, counters.run
    return Numbers(counts, [wait.total, run.total], list(wait.counts), list(run.counts))
