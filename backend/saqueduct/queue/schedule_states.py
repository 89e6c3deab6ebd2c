"""Schedules in operation: their state, pausing, resuming and triggering."""

import dataclasses
import time
from collections.abc import Iterable

from saqueduct.broker.keys import SCHEDULES_PAUSED
from saqueduct.broker.outage import answering
from saqueduct.broker.scripts import pack
from saqueduct.queue.aborting import BeingAborted, Patience
from saqueduct.queue.core import QueueCore
from saqueduct.queue.enqueuing import Enqueuer, without_conflicts
from saqueduct.queue.pausing import Pause, decoded, encoded
from saqueduct.queue.tracing import ending
from saqueduct.schedules.schedule import Schedule, tick_of
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.tasks.job import EngineJob, Enqueued
from saqueduct.tasks.job_meta import SCHEDULE


@dataclasses.dataclass(frozen=True, slots=True)
class ScheduleState:
    """The current state of a schedule.

    Attributes:
        key: the schedule's key, unique among all schedules.
        task: name of its task.
        queue: name of the queue its jobs go to.
        timing: when it is due, as text from `Schedule.timing`.
        next_tick: epoch seconds; None: no worker has declared it yet.
        last_job: key of the last job that it created; None: there was none.
        paused: who paused it, why and since when; None: it is not paused.
    """

    key: str
    task: str
    queue: str
    timing: str
    next_tick: float | None
    last_job: str | None
    paused: Pause | None

    @property
    def last_tick(self) -> float | None:
        """The last tick for which it made a job, in epoch seconds; None: none, or one was made by hand since."""
        return None if self.last_job is None else tick_of(self.last_job, self.key)


class ScheduleStates:
    """The schedules of one queue in Redis.

    Args:
        core: of the queue.
        enqueuer: of the queue.
    """

    def __init__(self, core: QueueCore, enqueuer: Enqueuer) -> None:
        self._core = core
        self._enqueuer = enqueuer

    async def states(self, tasks: Iterable[TaskDefinition]) -> list[ScheduleState]:
        """The schedules of these tasks, all of one queue."""
        async with self._core.redis.pipeline(transaction=True) as pipe:
            pipe.zrange(self._core.namespace("schedules:ticks"), 0, -1, withscores=True)
            pipe.hgetall(self._core.namespace("schedules:jobs"))
            pipe.hgetall(self._core.namespace(SCHEDULES_PAUSED))
            scores, jobs, notes = await pipe.execute()
        ticks = {key.decode(): score for key, score in scores}
        last = {key.decode(): job.decode() for key, job in jobs.items()}
        paused = {key.decode(): decoded(note) for key, note in notes.items() if not note.startswith(b"until")}
        return [
            ScheduleState(
                key=schedule.key,
                task=task.name,
                queue=self._core.name,
                timing=schedule.timing,
                next_tick=ticks.get(schedule.key),
                last_job=last.get(schedule.key),
                paused=paused.get(schedule.key),
            )
            for task in tasks
            for schedule in task.schedules
        ]

    async def pause(self, key: str, by: str, why: str) -> Pause:
        """See `Queues.pause_schedule`."""
        return decoded(await self._core.scripts.run("pause_schedule", key, encoded(by, why)))

    async def resume(self, key: str) -> bool:
        """See `Queues.resume_schedule`."""
        return bool(await self._core.scripts.run("resume_schedule", key))

    async def trigger(
        self, task: TaskDefinition, schedule: Schedule, max_payload_bytes: int
    ) -> tuple[EngineJob, Enqueued]:
        """Create a job of a schedule now; returns which job exists now; see `Queues.trigger_schedule`."""
        job = task.job(schedule.kwargs, limit=max_payload_bytes, meta={SCHEDULE: schedule.key})
        await self._enqueuer.prepare([job])
        tracer = self._core.tracer
        with ending(None if tracer is None else tracer.sending([job])):
            return await self._trigger(task, schedule, job, max_payload_bytes)

    async def _trigger(
        self, task: TaskDefinition, schedule: Schedule, job: EngineJob, max_payload_bytes: int
    ) -> tuple[EngineJob, Enqueued]:
        overlap = "1" if schedule.overlap == "queue" else "0"
        row = pack([self._enqueuer.row_of(job)])
        patience = Patience(self._core.timings)
        while True:
            begun = time.perf_counter()
            async with answering(self._core.timings.answer):
                what, key = await self._core.scripts.run("trigger", schedule.key, overlap, row)
            if what != b"aborting":
                break
            await patience.wait(job.key)
        if what == b"claimed":
            async with answering(self._core.timings.answer):
                answer = await self._enqueuer.conflict(job, key.decode())
            if isinstance(answer, BeingAborted):
                return await self.trigger(task, schedule, max_payload_bytes)
            [enqueued] = without_conflicts([answer])
            return job, enqueued
        if what == b"made" and self._core.meter is not None:
            self._core.meter.enqueued([job], time.perf_counter() - begun)
        return job, Enqueued(key.decode(), created=what == b"made")
