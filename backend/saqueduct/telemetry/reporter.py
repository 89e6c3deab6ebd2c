"""MetricsReporter: counts the jobs of this process, and reports them with the state of the whole."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from saqueduct.errors import ConfigurationError
from saqueduct.queue.metering import Meter
from saqueduct.queue.queues import Queues
from saqueduct.telemetry import metrics
from saqueduct.telemetry.counters import JobCounters
from saqueduct.telemetry.families import (
    Family,
    Sample,
    database_families,
    job_families,
    redis_families,
    schedule_families,
)
from saqueduct.telemetry.system_state import SystemReader
from saqueduct.worker import loop_monitor

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

WHOLE_TIMEOUT = 7.0
"""Seconds that the event loop gets to read the state of the whole for a thread; Prometheus waits for 10."""

BLOCKED = 1.0
"""Seconds without an answer after which the event loop is not asked at all."""


class Records(Protocol):
    """The recorder, as far as metrics show it."""

    dropped: int

    def __len__(self) -> int: ...


class MetricsReporter:
    """The metrics of one process.

    Args:
        queues: whose jobs are counted from now on.
        sessions: opens sessions on PostgreSQL; None: there is none.
        records: the recorder; None: there is none.
        wrap: makes the meter of a queue from its counters, for one that reports elsewhere too.
    """

    def __init__(
        self,
        queues: Queues,
        sessions: "Callable[[], AbstractAsyncContextManager[AsyncSession]] | None" = None,
        records: Records | None = None,
        wrap: Callable[[JobCounters], Meter] | None = None,
    ) -> None:
        self._queues = queues
        self._records = records
        self.system = SystemReader(queues, sessions)
        self.counters: Sequence[JobCounters] = [JobCounters(queue.name, queues.tasks) for queue in queues]
        for queue, counters in zip(queues, self.counters, strict=True):
            queue.core.meter = counters if wrap is None else wrap(counters)

    def of_the_process(self) -> list[Family]:
        """The metrics of this process. May be called from any thread."""
        families = list(job_families(self.counters))
        if self._records is not None:
            families.append(Family(metrics.RECORDS_WAITING, [Sample((), len(self._records))]))
            families.append(Family(metrics.RECORDS_DROPPED, [Sample((), self._records.dropped)]))
        if (loop := self._loop()) is not None and (pulse := loop_monitor.of(loop)) is not None:
            families.append(Family(metrics.LOOP_LAG, [Sample((), pulse.lag())]))
        return families

    async def of_the_whole(self) -> list[Family]:
        """The state of Redis, PostgreSQL, queues and schedules; what does not answer in time is left out."""
        redis, database, schedules = await asyncio.gather(
            self.system.redis(), self.system.database(), self.system.schedules()
        )
        return [*redis_families(redis), *schedule_families(schedules), *database_families(database)]

    async def all(self) -> list[Family]:
        """All metrics."""
        return [*self.of_the_process(), *await self.of_the_whole()]

    def all_from_thread(self) -> list[Family]:
        """All metrics, for a thread; without the state of the whole while the event loop does not answer."""
        return [*self.of_the_process(), *self.whole_from_thread()]

    def whole_from_thread(self) -> list[Family]:
        """As `of_the_whole`, for a thread; nothing while the event loop does not answer."""
        if (loop := self._loop()) is None or not loop.is_running() or _is_blocked(loop):
            return []
        asked = asyncio.run_coroutine_threadsafe(self.of_the_whole(), loop)
        try:
            return asked.result(WHOLE_TIMEOUT)
        except TimeoutError:
            asked.cancel()
            return []

    def _loop(self) -> asyncio.AbstractEventLoop | None:
        """That of the queues; None: they are not connected."""
        try:
            return self._queues.loop
        except ConfigurationError:
            return None


def _is_blocked(loop: asyncio.AbstractEventLoop) -> bool:
    pulse = loop_monitor.of(loop)
    return pulse is not None and pulse.blocked_for() > BLOCKED
