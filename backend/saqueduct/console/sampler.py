"""Sampler: the state of the whole, read once for all viewers of a process."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from saqueduct.application import Saqueduct
from saqueduct.broker.outage import answering
from saqueduct.console.problems import Problem, problems_of
from saqueduct.errors import QueueUnavailable
from saqueduct.queue.queue import EngineQueue
from saqueduct.queue.queue_state import QueueState
from saqueduct.queue.reading import worker_info
from saqueduct.queue.schedule_states import ScheduleState
from saqueduct.queue.workers import WorkerProcess, processes_of
from saqueduct.telemetry.system_state import DatabaseState, SystemReader

ENDS: Final = ("complete", "failed", "retried", "aborted")
"""Counts in the stats of a worker."""

MOST_WATCHERS: Final = 200
"""Open streams of a process; further viewers poll."""


@dataclasses.dataclass(frozen=True, slots=True)
class SampledWorker:
    """A worker, as it reports itself.

    Attributes:
        id: of the worker.
        queue: that it serves.
        stats: its counts of jobs, and `uptime` in milliseconds; empty: it reports none that can be read.
    """

    id: str
    queue: str
    stats: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the whole in one moment.

    Attributes:
        at: epoch seconds.
        redis_up: False: Redis does not answer, and queues, workers and schedules are unknown.
        queues: all queues.
        depths: jobs in the lists of each queue, by priority.
        workers: live workers.
        schedules: all schedules.
        database: what waits in PostgreSQL.
        problems: what is wrong now, the worst first.
    """

    at: float
    redis_up: bool
    queues: Sequence[QueueState]
    depths: Mapping[str, Mapping[str, int]]
    workers: Sequence[SampledWorker]
    schedules: Sequence[ScheduleState]
    database: DatabaseState
    problems: Sequence[Problem] = ()

    @property
    def dead_letters(self) -> int | None:
        """Of all queues; None: unknown."""
        counts = self.database.dead_letters
        return None if counts is None else sum(counts.values())

    @property
    def processes(self) -> list[WorkerProcess]:
        """The live worker processes."""
        return processes_of(self.queues)

    @property
    def unreported(self) -> list[SampledWorker]:
        """Workers without a health report: those that have just started, and stock workers of SAQ."""
        reported = {worker for process in self.processes for worker in process.ids}
        return [each for each in self.workers if each.id not in reported]

    @property
    def mark(self) -> object:
        """Differs from that of an earlier sample when a page would differ."""
        queues = [(each.queued, each.active, each.scheduled, each.paused, each.workers) for each in self.queues]
        # A job that starts and ends between two samples is only in these.
        stats = [(each.id, *map(each.stats.get, ENDS)) for each in self.workers]
        reports = [(each.worker, each.paused, each.state.paused) for queue in self.queues for each in queue.reports]
        waits = [each.name for each in self.queues if each.latency or each.active]
        ticks = [(each.key, each.next_tick, each.last_job, each.paused) for each in self.schedules]
        moving = self.at if waits else 0.0
        problems = [each.text for each in self.problems]
        return (self.redis_up, queues, stats, reports, ticks, self.dead_letters, problems, moving)


class Sampler:
    """Reads snapshots; all requests of a moment share one, and all streams share the sampling.

    Args:
        saqueduct: connected before the first read.
    """

    def __init__(self, saqueduct: Saqueduct) -> None:
        self._saqueduct = saqueduct
        self._timings = saqueduct.config.timings.console
        self._latest: Snapshot | None = None
        self._at = 0.0
        self._reading: asyncio.Task[Snapshot] | None = None
        self._watchers = 0
        self.reads = 0
        """Snapshots that were read."""

    async def current(self, *, max_age: float | None = None) -> Snapshot:
        """A snapshot that is at most `max_age` seconds old, by default `ConsoleTimings.sample_kept`."""
        reading = self.begin(max_age=max_age)
        if reading is None and self._latest is not None:
            return self._latest
        # One of several that wait for it may leave.
        return await asyncio.shield(reading or self._begun())

    def begin(self, *, fresh: bool = False, max_age: float | None = None) -> "asyncio.Task[Snapshot] | None":
        """Begin to read, unless the latest snapshot is young enough (as in `current`) and `fresh` is not asked for;
        returns the reading; None: there is none.
        """
        max_age = self._timings.sample_kept if max_age is None else max_age
        if not fresh and self._latest is not None and time.monotonic() - self._at < max_age:
            return None
        if not fresh and self._reading is not None and not self._reading.done():
            return self._reading
        return self._begun()

    def _begun(self) -> "asyncio.Task[Snapshot]":
        self._reading = asyncio.get_running_loop().create_task(self._read())
        return self._reading

    def forget(self) -> None:
        """Read again at the next call."""
        self._at = 0.0

    @property
    def full(self) -> bool:
        """True when no more streams are served."""
        return self._watchers >= MOST_WATCHERS

    async def changes(self, seconds: float) -> AsyncIterator[Snapshot]:
        """Snapshots that differ from the one before, for so many seconds."""
        self._watchers += 1
        end, mark = time.monotonic() + seconds, None
        try:
            while time.monotonic() < end:
                snapshot = await self.current(max_age=self._timings.sample * 0.9)
                if snapshot.mark != mark:
                    mark = snapshot.mark
                    yield snapshot
                await asyncio.sleep(self._timings.sample)
        finally:
            self._watchers -= 1

    async def _read(self) -> Snapshot:
        self.reads += 1
        store, queues = self._saqueduct.store, self._saqueduct.queues
        system = SystemReader(queues, None if store is None else store.sessions, self._timings.answer)
        redis, database, schedules = await asyncio.gather(system.redis(), system.database(), system.schedules())
        depths: dict[str, Mapping[str, int]] = {}
        workers: list[SampledWorker] = []
        if redis.up:
            with suppress(QueueUnavailable, TimeoutError):
                async with asyncio.timeout(3.0):
                    for queue in queues:
                        depths[queue.name] = await queue.reader.depths()
                        workers += await _workers(queue)
        snapshot = Snapshot(time.time(), redis.up, redis.queues, depths, workers, schedules, database)
        self._latest = dataclasses.replace(snapshot, problems=problems_of(redis, database, schedules, snapshot.at))
        self._at = time.monotonic()
        return self._latest


async def _workers(queue: EngineQueue) -> list[SampledWorker]:
    async with answering(queue.core.timings.answer):
        found = await queue.reader.live_workers()
    return [
        SampledWorker(worker, queue.name, worker_info(report)["stats"] or {})
        for worker, report in sorted(found.items())
    ]
