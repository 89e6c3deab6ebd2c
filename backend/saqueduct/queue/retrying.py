"""Retrying by hand: a job that has ended is queued once more, the same way from wherever it is asked for.

HTTP, the command line, SAQ's page and SAQ's API all come here. The retry counts as a new round: the attempts start
anew, and what was remembered of the end, such as a dead letter, is resolved.
"""

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, cast

from saq import Job
from saq.job import TERMINAL_STATUSES

from saqueduct.errors import InvalidArguments, JobConflict, UnknownTask
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import CLAIM, EXPIRES_AT, MISFIT_SINCE, OUTAGE, RECOVERIES, ROUND, STALLS
from saqueduct.tasks.options import Claim, Unique

if TYPE_CHECKING:
    from saqueduct.queue.queue import EngineQueue


async def retry(queue: "EngineQueue", job: Job) -> Job:
    """See `EngineQueue.retry_by_hand`."""
    if getattr(job, "unreadable", ""):
        raise JobConflict(job.key, "unreadable", "retried")
    stored = await queue.job(job.key)
    if stored is not None and stored.status not in TERMINAL_STATUSES:
        raise JobConflict(job.key, stored.status.value, "retried")
    # One that Redis does not know any more is queued as its caller knows it, as in SAQ.
    ended = stored or cast("EngineJob", queue.copy(job))
    again = partial(_enqueue_again, queue, ended)
    if queue.memory is None:
        return await again()
    return await queue.memory.retry(ended, again)


async def _enqueue_again(queue: "EngineQueue", job: EngineJob) -> Job:
    job.ended_at = job.completed
    # As new: neither the old outcome nor what ended it may end it again, and no backoff delays it.
    job.attempts, job.progress, job.started, job.completed, job.scheduled = 0, 0.0, 0, 0, 0
    job.result, job.error = None, None
    for entry in (RECOVERIES, STALLS, EXPIRES_AT, MISFIT_SINCE, OUTAGE):
        job.meta.pop(entry, None)
    job.meta[ROUND] = int(job.meta.get(ROUND, 0)) + 1
    job.claim = _claim(queue, job)
    [stands] = await queue.enqueue_many([job])
    if not stands.created:
        one_like_it = f"unique like {stands.key!r}, which waits or runs,"
        raise JobConflict(job.key, "queued" if stands.key == job.key else one_like_it, "retried")
    return job


def _claim(queue: "EngineQueue", job: EngineJob) -> Claim | None:
    """What a unique job claims once more: beside another one of the same arguments it is refused, never in its place.

    A claim that the call made, and not the task, is known by its id alone.
    """
    claim = _claim_of_its_task(queue, job)
    claimed = job.meta.get(CLAIM)
    if claimed and (claim is None or claim.id != claimed):
        return Claim(claimed, Unique())
    return claim


def _claim_of_its_task(queue: "EngineQueue", job: EngineJob) -> Claim | None:
    try:
        task = queue.tasks.get(job.function) if queue.tasks is not None else None
        if task is None or task.defaults.unique is None:
            return None
        claim = task.defaults.unique.claim(task.name, task.signature.filled(job.kwargs or {}))
    except (UnknownTask, InvalidArguments):
        # The worker that it fits knows.
        return None
    return Claim(claim.id, dataclasses.replace(claim.unique, on_conflict="ignore"))
