"""Schedules as people see and steer them: how they stand, pausing, resuming and triggering."""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from saqueduct.broker.keys import SCHEDULES_PAUSED
from saqueduct.broker.outage import answering
from saqueduct.broker.scripts import pack
from saqueduct.queue import enqueuing, pausing
from saqueduct.queue.aborting import BeingAborted, Patience
from saqueduct.queue.pausing import Pause
from saqueduct.schedules.schedule import Schedule
from saqueduct.tasks.job import EngineJob, Enqueued
from saqueduct.tasks.job_meta import SCHEDULE

if TYPE_CHECKING:
    from saqueduct.queue.queue import EngineQueue
    from saqueduct.tasks.task import Task


@dataclasses.dataclass(frozen=True, slots=True)
class ScheduleState:
    """A schedule as it stands.

    Attributes:
        key: its name, unique among all schedules.
        task: name of its task.
        queue: name of the queue its jobs go to.
        timing: when it is due, as `Schedule.timing` says it.
        next_tick: epoch seconds; None: no worker has declared it yet.
        last_job: key of the last job made of it; None: there was none.
        paused: by whom, why and since when; None: it is not paused.
    """

    key: str
    task: str
    queue: str
    timing: str
    next_tick: float | None
    last_job: str | None
    paused: Pause | None


async def states(queue: "EngineQueue", tasks: Iterable["Task[..., Any]"]) -> list[ScheduleState]:
    """The schedules of these tasks, all of one queue."""
    async with queue.redis.pipeline(transaction=True) as pipe:
        pipe.zrange(queue.namespace("schedules:ticks"), 0, -1, withscores=True)
        pipe.hgetall(queue.namespace("schedules:jobs"))
        pipe.hgetall(queue.namespace(SCHEDULES_PAUSED))
        scores, jobs, notes = await pipe.execute()
    ticks = {key.decode(): score for key, score in scores}
    last = {key.decode(): job.decode() for key, job in jobs.items()}
    paused = {key.decode(): pausing.read(note) for key, note in notes.items() if not note.startswith(b"until")}
    return [
        ScheduleState(
            key=schedule.key,
            task=task.name,
            queue=queue.name,
            timing=schedule.timing,
            next_tick=ticks.get(schedule.key),
            last_job=last.get(schedule.key),
            paused=paused.get(schedule.key),
        )
        for task in tasks
        for schedule in task.schedules
    ]


async def pause(queue: "EngineQueue", key: str, by: str, why: str) -> Pause:
    """See `Queues.pause_schedule`."""
    return pausing.read(await queue.scripts.run("pause_schedule", key, pausing.told(by, why)))


async def resume(queue: "EngineQueue", key: str) -> bool:
    """See `Queues.resume_schedule`."""
    return bool(await queue.scripts.run("resume_schedule", key))


async def trigger(queue: "EngineQueue", task: "Task[..., Any]", schedule: Schedule) -> tuple[EngineJob, Enqueued]:
    """A job of a schedule now, and which one stands; see `Queues.trigger_schedule`."""
    job = task.job(schedule.kwargs, limit=queue.max_payload_bytes, meta={SCHEDULE: schedule.key})
    await enqueuing.prepare(queue, [job])
    overlap = "1" if schedule.overlap == "queue" else "0"
    row = pack([enqueuing.row_of(queue, job)])
    patience = Patience()
    while True:
        async with answering():
            what, key = await queue.scripts.run("trigger", schedule.key, overlap, row)
        if what != b"aborting":
            break
        await patience.wait(job.key)
    if what == b"claimed":
        async with answering():
            answer = await enqueuing.conflict(queue, job, key.decode())
        if isinstance(answer, BeingAborted):
            return await trigger(queue, task, schedule)
        [stands] = enqueuing.without_conflicts([answer])
        return job, stands
    if what == b"made":
        await queue.adopt([job])
    return job, Enqueued(key.decode(), created=what == b"made")
