"""Retrying by hand: a job that has ended is queued once more, the same way from wherever it is asked for.

HTTP, the command line, SAQ's page and SAQ's API all call this. The retry counts as a new round: the attempts start
anew, and what was recorded of the end, such as a dead letter, is resolved.
"""

import dataclasses

from saq import Job
from saq.job import TERMINAL_STATUSES

from saqueduct.errors import InvalidArguments, JobConflict, UnknownTask
from saqueduct.queue.core import QueueCore
from saqueduct.queue.reading import Reader
from saqueduct.tasks.definition import TaskLookup
from saqueduct.tasks.job import EngineJob, Enqueued
from saqueduct.tasks.job_meta import CLAIM, EXPIRES_AT, MISFIT_SINCE, OUTAGE, RECOVERIES, ROUND, STALLS
from saqueduct.tasks.options import Claim, Unique


class Retrier:
    """Makes ended jobs of one queue ready to be enqueued again.

    Args:
        core: of the queue.
        reader: of the queue.
        tasks: the tasks, for their unique claims; None: jobs have none.
    """

    def __init__(self, core: QueueCore, reader: Reader, tasks: TaskLookup | None) -> None:
        self._core = core
        self._reader = reader
        self._tasks = tasks

    async def ended(self, job: Job) -> EngineJob:
        """The job as it ended; one that Redis does not know any more as its caller knows it, as in SAQ.

        Raises:
            JobConflict: it has not ended, or cannot be read.
        """
        if isinstance(job, EngineJob) and job.unreadable:
            raise JobConflict(job.key, "unreadable", "retried")
        stored = await self._reader.job(job.key)
        if stored is not None and stored.status not in TERMINAL_STATUSES:
            raise JobConflict(job.key, stored.status.value, "retried")
        return stored or self._core.copy(job)

    def renew(self, job: EngineJob) -> None:
        """Make it as new: neither the old outcome nor what ended it may end it again, and no backoff delays it."""
        job.ended_at = job.completed
        job.attempts, job.progress, job.started, job.completed, job.scheduled = 0, 0.0, 0, 0, 0
        job.result, job.error = None, None
        for entry in (RECOVERIES, STALLS, EXPIRES_AT, MISFIT_SINCE, OUTAGE):
            job.meta.pop(entry, None)
        job.meta[ROUND] = int(job.meta.get(ROUND, 0)) + 1
        job.claim = self._claim(job)

    def _claim(self, job: EngineJob) -> Claim | None:
        """What a unique job claims once more: beside another one of the same arguments it is refused, never in its
        place.

        A claim that the call made, and not the task, is known by its id alone.
        """
        claim = self._claim_of_its_task(job)
        claimed = job.meta.get(CLAIM)
        if claimed and (claim is None or claim.id != claimed):
            return Claim(claimed, Unique())
        return claim

    def _claim_of_its_task(self, job: EngineJob) -> Claim | None:
        try:
            task = self._tasks.get(job.function) if self._tasks is not None else None
            if task is None or task.defaults.unique is None:
                return None
            claim = task.defaults.unique.claim(task.name, task.signature.filled(job.kwargs or {}))
        except (UnknownTask, InvalidArguments):
            # The worker that it fits knows.
            return None
        return Claim(claim.id, dataclasses.replace(claim.unique, on_conflict="ignore"))


def check_retried(job: EngineJob, enqueued: Enqueued) -> None:
    """See that a retry has enqueued the job itself.

    Raises:
        JobConflict: another job is in its place.
    """
    if not enqueued.created:
        one_like_it = f"unique like {enqueued.key!r}, which waits or runs,"
        raise JobConflict(job.key, "queued" if enqueued.key == job.key else one_like_it, "retried")
