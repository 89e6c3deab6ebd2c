"""Ticker: makes the jobs of schedules when their ticks are due, and declares the queue's limits with them.

Redis holds the next tick of each schedule of a queue. The worker that finds one due advances the schedule to its next
tick and enqueues the job in one step, so that a tick makes one job, however many workers look and however wrong their
clocks are.

Each worker declares all schedules and limits of its queue when it starts. The newest declaration is valid, and workers
with another one (older code, during a deploy) make no jobs, even after a restart. When no worker with that declaration
has looked for 30 seconds, another worker declares its own; see `scripts/declarations.lua`.
"""

import asyncio
import datetime as dt
import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from saqueduct.broker.outage import REDIS_AWAY
from saqueduct.broker.scripts import pack
from saqueduct.common import clock
from saqueduct.flow.limits import name_of
from saqueduct.queue.enqueuing import Row
from saqueduct.queue.limit_states import LimitStates
from saqueduct.queue.queue import EngineQueue
from saqueduct.schedules.schedule import MISSED, Schedule, job_prefix
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.tasks.job_meta import SCHEDULE, TICK

RETRY = 1.0
"""Seconds until another look when one has failed."""

TICKS_PER_CALL = 100
"""Ticks that one look takes at most."""

OURS, NEWER = "1", "0"
"""Answers of `scripts/due.lua`."""

logger = logging.getLogger("saqueduct.worker")


class Look(NamedTuple):
    """What `scripts/due.lua` answers."""

    holds: str
    """Which declaration is valid: this worker's, "1"; a newer one, "0"; an older one, or one that is gone; none, ""."""
    now: float
    wait: float | None
    due: list[tuple[str, str]]


class Ticker:
    """Makes the jobs of the schedules of one queue.

    Args:
        queue: the queue.
        tasks: those whose schedules and limits are the queue's.
        zone: time zone of crons without their own.
        declared: set when `run` has declared the schedules to Redis.
    """

    def __init__(
        self,
        queue: EngineQueue,
        tasks: Sequence[TaskDefinition],
        zone: dt.tzinfo,
        declared: asyncio.Event | None = None,
    ) -> None:
        self._queue = queue
        self._zone = zone
        self._tasks = {schedule.key: (task, schedule) for task in tasks for schedule in task.schedules}
        self._limits = {name_of(each, task.name): each.rule for task in tasks for each in task.defaults.all_limits}
        self._declaration = self._fingerprint()
        self._declared = declared or asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Declare the schedules, and make their jobs until `stop`."""
        while not self._stopping.is_set():
            try:
                if not self._declared.is_set():
                    await self.declare()
                    self._declared.set()
                wait = await self.tick()
            except Exception as error:
                # An outage of Redis is logged where jobs are leased.
                if not isinstance(error, REDIS_AWAY):
                    logger.exception("queue %s: could not check the schedules, retrying", self._queue.name)
                wait = RETRY
            await self._sleep(wait)

    def stop(self) -> None:
        """Stop making jobs."""
        self._stopping.set()

    async def declare(self, *, replace: bool = True) -> None:
        """Declare the schedules in Redis: those that changed continue from now, those that are left out end. And the
        limits, which apply to jobs that wait already.

        Args:
            replace: False: only if there is no declaration; True: also if the workers that made it are older, or gone.
        """
        now = await self._queue.time()
        rows = [
            part
            for key, (_, schedule) in self._tasks.items()
            for part in (key, schedule.timing, repr(schedule.next_tick(now, self._zone)))
        ]
        limits = pack([part for rule in self._limits.items() for part in rule])
        changed = await self._queue.scripts.run("declare", self._declaration, int(replace), limits, *rows)
        await LimitStates(self._queue.core).stir(changed)

    async def tick(self) -> float:
        """Make the jobs that are due; returns the seconds until the next look."""
        look = await self._look()
        if not look.holds:
            # Redis has forgotten them.
            await self.declare(replace=False)
            return 0.0
        if look.holds == NEWER:
            return self._queue.core.timings.schedule_check
        if look.holds != OURS:
            logger.warning("queue %s: taking over its schedules from older or dead workers", self._queue.name)
            await self.declare()
            return 0.0
        if look.due:
            await self._fire(look)
            return 0.0
        return (
            self._queue.core.timings.schedule_check
            if look.wait is None
            else min(max(look.wait, 0.0), self._queue.core.timings.schedule_check)
        )

    async def _look(self) -> Look:
        holds, now, wait, *due = [
            part.decode() for part in await self._queue.scripts.run("due", self._declaration, TICKS_PER_CALL)
        ]
        return Look(holds, float(now), float(wait) if wait else None, list(zip(due[::2], due[1::2], strict=True)))

    async def _fire(self, look: Look) -> None:
        rows = [await self._row(key, tick, look.now) for key, tick in look.due]
        answers = await self._queue.scripts.run("fire", self._declaration, pack(rows))
        for (key, tick), answer in zip(look.due, answers, strict=True):
            logger.log(
                logging.WARNING if answer in (b"skipped", b"overlaps") else logging.DEBUG,
                "tick %s of %s: %s", tick, key, answer.decode(),
            )  # fmt: skip
        made = [row for row, answer in zip(rows, answers, strict=True) if answer == b"made"]
        jobs = [(row, job) for row in made if (job := self._queue.deserialize(row[-1][1]))]
        if (meter := self._queue.core.meter) is not None:
            for (schedule, _, tick, *_), job in jobs:
                meter.ticked(schedule, job, look.now - float(tick))
        await self._queue.adopt([job for _, job in jobs])

    async def _row(self, key: str, due: str, now: float) -> tuple[Any, ...]:
        """One row for `scripts/fire.lua`."""
        task, schedule = self._tasks[key]
        tick = schedule.latest_tick(float(due), now, self._zone)
        following = repr(schedule.next_tick(now, self._zone))
        missed = schedule.catch_up == "skip" and now - tick > MISSED
        # A stock worker has one schedule per function, whose job has this key.
        stock = f"cron:{task.name}" if schedule is task.schedules[0] else ""
        job: Row = ()
        try:
            job = job if missed else await self._job(task, schedule, tick)
        except Exception:
            # It must not keep the ticks of other schedules from being made.
            logger.exception("could not create a job for a tick of %s", key)
        return key, due, repr(tick), following, "1" if schedule.overlap == "queue" else "0", stock, job

    async def _job(self, task: TaskDefinition, schedule: Schedule, tick: float) -> Row:
        when = int(tick) if tick.is_integer() else tick
        job = task.job(
            schedule.kwargs,
            limit=self._queue.max_payload_bytes,
            key=f"{job_prefix(schedule.key)}{when}",
            meta={SCHEDULE: schedule.key, TICK: when},
        )
        await self._queue.enqueuer.prepare([job])
        return self._queue.enqueuer.row_of(job)

    async def _sleep(self, seconds: float) -> None:
        """Wait for so long; less when a test changes the time or the worker stops."""
        loop, offset = asyncio.get_running_loop(), clock.offset()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0 and clock.offset() == offset and not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, 1.0)):
                    await self._stopping.wait()

    def _fingerprint(self) -> str:
        declared = [
            (task.name, key, schedule.timing, str(self._zone), schedule.catch_up, schedule.overlap, schedule.kwargs)
            for key, (task, schedule) in sorted(self._tasks.items())
        ]
        # Without limits as before there were any: an upgrade alone is no new declaration.
        whole = [declared, sorted(self._limits.items())] if self._limits else declared
        text = msgspec.json.encode(whole, order="deterministic", enc_hook=repr)
        return hashlib.blake2b(text, digest_size=16).hexdigest()
