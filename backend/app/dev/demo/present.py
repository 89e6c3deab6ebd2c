"""The present of the demo: real jobs of the application's tasks. None of them sends a mail."""

from contextlib import suppress
from typing import Any, Final

from app.dev.demo.past import HOUR, PREFIX, TAG
from app.payments.tasks import capture_payment
from app.queue.tasks import enqueue_follow_up, my_task
from saqueduct import Call, Saqueduct, Task, enqueue_many
from saqueduct.errors import JobConflict, JobNotFound

RUN_NOW: Final = ("batch_process", "check_status", "cleanup_sessions", "resume_campaigns", "todo.cleanup")
"""Schedules that get a job immediately."""

STEADY: Final = 120
"""Jobs that become due one after the other within an hour."""

GAP: Final = HOUR / STEADY


async def enqueue(saqueduct: Saqueduct) -> int:
    """Enqueue jobs that run now, that fail, and that wait; returns how many are new.

    Jobs of an earlier call that still wait stay as they are.
    """
    handles = await enqueue_many(_calls())
    triggered = [await saqueduct.queues.trigger_schedule(key) for key in RUN_NOW]
    return sum(handle.created for handle in handles) + sum(job.created for job in triggered)


async def abort(saqueduct: Saqueduct) -> int:
    """Abort the jobs of earlier calls that have not ended; returns how many. They leave records, as all that end."""
    aborted = 0
    for call in _calls():
        with suppress(JobNotFound, JobConflict):
            key = saqueduct.queues.get(call.task.queue_name).job_id(call.job.key)
            await saqueduct.queues.abort(key, "the demo was taken away")
            aborted += 1
    return aborted


def _calls() -> list[Call[Any]]:
    now = [_options(my_task, "now", each).bind(user_id=each) for each in range(1, 11)]
    parents = [_options(enqueue_follow_up, "parent", each).bind(user_id=each) for each in range(1, 4)]
    failing = [_options(capture_payment, "unknown", each).bind(payment_id=900_000 + each) for each in range(1, 4)]
    steady = [_options(my_task, "steady", each, delay=each * GAP).bind(user_id=each) for each in range(1, STEADY + 1)]
    later = [
        _options(enqueue_follow_up, "later", each, delay=each * 2 * HOUR, priority="low").bind(user_id=each)
        for each in range(1, 7)
    ]
    return [*now, *parents, *failing, *steady, *later]


def _options(task: Task[..., Any], name: str, number: int, **options: Any) -> Task[..., Any]:
    return task.options(key=f"{PREFIX}{name}-{number:03}", tags=(TAG,), **options)
