"""AlertWatcher: looks for what is wrong, in one process of all, and reports it.

The processes take turns by a lease in Redis, which holds what has been reported too: when the one that watches ends,
another continues. While Redis is away only that one reports it, from its own memory.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import msgspec

from saqueduct.broker.outage import REDIS_AWAY
from saqueduct.common.cancellation import end_if_cancelled
from saqueduct.common.clock import time_now
from saqueduct.queue.queue_state import QueueState
from saqueduct.queue.queues import Queues
from saqueduct.telemetry.alerts.channels import Channel
from saqueduct.telemetry.alerts.conditions import Readings, Sample, conditions, failure_counts, redis_away
from saqueduct.telemetry.alerts.reporting import MOST_WORKERS, Reported
from saqueduct.telemetry.system_state import DatabaseState, SystemReader

logger = logging.getLogger("saqueduct.alerts")

PERIOD = 15.0
"""Seconds between two looks."""

TURN = 4 * PERIOD
"""Seconds after which another process continues when the one that watches is silent."""


class AlertWatcher:
    """Looks and reports in one process.

    Args:
        queues: of this process, connected while it runs.
        system: reads the state of the whole.
        channels: where alerts go.
        environment: named in each alert.
        period: seconds between two looks.
    """

    def __init__(
        self,
        queues: Queues,
        system: SystemReader,
        channels: Sequence[Channel],
        environment: str,
        period: float = PERIOD,
    ) -> None:
        self._queues = queues
        self._system = system
        self._channels = {channel.name: channel for channel in channels}
        self._environment = environment
        self._period = period
        self._id = uuid4().hex
        self._watches = False
        """Whether this process had its turn when Redis answered last."""
        self._away = Reported()
        """What this process has reported about Redis itself."""
        self._silent: set[str] = set()
        """The channels whose last report failed."""
        self._blocks = 0
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look during the block; blocks of one process share one task."""
        self._blocks += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="saqueduct: alerts")
        try:
            yield
        finally:
            self._blocks -= 1
            if not self._blocks:
                task, self._task = self._task, None
                task.cancel()
                await asyncio.wait([task])

    async def look(self) -> None:
        """Look once, and report what is due."""
        redis = await self._system.redis()
        if not redis.up:
            if self._watches or self._away.standing:
                await self._report_on_redis(away=True)
            return
        await self._report_on_redis(away=False)
        state = await self._take_turn()
        if state is None:
            self._watches = False
            return
        self._watches = True
        now, reported = state
        database, schedules = await asyncio.gather(self._system.database(), self._system.schedules())
        sample = await self._sample(now, redis.queues, database)
        readings = Readings(redis.queues, schedules, database, sample, reported.samples)
        reported.take(conditions(readings), now, list(self._channels))
        reported.sample(sample)
        await self._report(reported, now)
        await self._take_turn(reported)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except REDIS_AWAY:
                # The next look sees it.
                pass
            except Exception:
                logger.exception("could not look for what is wrong, retrying in %.0f s", self._period)
            end_if_cancelled()
            await asyncio.sleep(self._period)

    async def _take_turn(self, reported: Reported | None = None) -> tuple[float, Reported] | None:
        """The time and what has been reported; None: another process watches.

        Args:
            reported: to be kept for the next turn.
        """
        new = b"" if reported is None else msgspec.json.encode(reported)
        queue = next(iter(self._queues))
        answer = await queue.scripts.run("alerts", self._id, 4 * self._period, new)
        if answer is None:
            return None
        now, stored = answer
        try:
            return float(now), msgspec.json.decode(stored, type=Reported) if stored else Reported()
        except msgspec.DecodeError:
            logger.warning("what has been reported cannot be read, as by another version: it is reported again")
            return float(now), Reported()

    async def _sample(self, now: float, queues: Sequence[QueueState], database: DatabaseState) -> Sample:
        ended = {}
        for queue in self._queues:
            reports = await queue.reader.live_workers()
            some = dict(list(reports.items())[:MOST_WORKERS])
            ended[queue.name] = failure_counts({worker: json.loads(report) for worker, report in some.items()})
        return Sample(now, dict(database.dead_letters or {}), ended)

    async def _report_on_redis(self, *, away: bool) -> None:
        """Redis keeps nothing while it is away, so that what was reported about it is in memory only."""
        if not away and not self._away.standing:
            return
        now = time_now()
        self._away.take([redis_away()] if away else [], now, list(self._channels))
        await self._report(self._away, now)

    async def _report(self, reported: Reported, now: float) -> None:
        """Send what is due; what a channel did not take is due again at the next look."""
        for standing, name in list(reported.due(now, list(self._channels))):
            alert = standing.alert(self._environment)
            try:
                await self._channels[name].send(alert)
            except Exception as error:
                self._note_failure(name, error)
                continue
            self._silent.discard(name)
            standing.reported(name)
            logger.info("reported by %s: %s", name, alert.title)
        reported.forget_what_is_over()

    def _note_failure(self, name: str, error: Exception) -> None:
        """Log the first of a row of failures: the channel may stay away for long."""
        if name not in self._silent:
            self._silent.add(name)
            logger.warning("an alert could not be sent by %s, which is tried again: %s", name, error)
