"""Retrying by hand: queues an ended job again, in the same way for all callers.

HTTP, the command line, SAQ's page and SAQ's API all call this. The retry gets a new manual retry number: the attempts
restart, and what was recorded about the end, such as a dead letter, is resolved.
"""

import dataclasses

from saq import Job
from saq.job import TERMINAL_STATUSES

from saqueduct.errors import InvalidArguments, JobConflict, UnknownTask
from saqueduct.queue.core import QueueCore
from saqueduct.queue.reading import Reader
from saqueduct.tasks.definition import TaskLookup
from saqueduct.tasks.job import EngineJob, Enqueued
from saqueduct.tasks.job_meta import (
    CLAIM,
    DEBOUNCE,
    EXPIRES_AT,
    LIMITS,
    MISFIT_SINCE,
    OUTAGE,
    RECOVERIES,
    REPLACED_BY,
    ROUND,
    STALLS,
    THROTTLED,
)
from saqueduct.tasks.unique import Claim, Unique


class Retrier:
    """Prepares ended jobs of one queue for another enqueue.

    Args:
        core: of the queue.
        reader: of the queue.
        tasks: the tasks, for their unique claims; None: jobs have no claims.
    """

    def __init__(self, core: QueueCore, reader: Reader, tasks: TaskLookup | None) -> None:
        self._core = core
        self._reader = reader
        self._tasks = tasks

    async def ended(self, job: Job) -> EngineJob:
        """The job as it ended; if Redis no longer has it, the caller's copy, as in SAQ.

        Raises:
            JobConflict: the job has not ended, or cannot be read.
        """
        if isinstance(job, EngineJob) and job.unreadable:
            raise JobConflict(job.key, "unreadable", "retried")
        stored = await self._reader.job(job.key)
        if stored is not None and stored.status not in TERMINAL_STATUSES:
            raise JobConflict(job.key, stored.status.value, "retried")
        return stored or self._core.copy(job)

    def renew(self, job: EngineJob) -> None:
        """Reset it like a new job: the old outcome and its cause must not end it again, and no backoff delays it."""
        job.ended_at = job.completed
        job.attempts, job.progress, job.started, job.completed, job.scheduled = 0, 0.0, 0, 0, 0
        job.result, job.error = None, None
        for entry in (RECOVERIES, STALLS, EXPIRES_AT, MISFIT_SINCE, OUTAGE, DEBOUNCE, REPLACED_BY, THROTTLED):
            job.meta.pop(entry, None)
        job.meta[ROUND] = int(job.meta.get(ROUND, 0)) + 1
        job.claim = self._claim(job)
        self._limit(job)

    def _claim(self, job: EngineJob) -> Claim | None:
        """The claim of a unique job that is queued again: if another job with the same arguments exists, the retry is
        refused and never replaces it.

        For a claim that the call made, and not the task, only the id is known.
        """
        claim = self._claim_of_its_task(job)
        claimed = job.meta.get(CLAIM)
        if claimed and (claim is None or claim.id != claimed):
            return Claim(claimed, Unique())
        return claim

    def _limit(self, job: EngineJob) -> None:
        """Give the job the limits that its task has now."""
        try:
            task = self._tasks.get(job.function) if self._tasks is not None else None
            if task is None:
                return
            if task.takes_turns:
                task.limit(job)
            else:
                job.meta.pop(LIMITS, None)
        except (UnknownTask, InvalidArguments):
            # A worker whose code fits the job runs it, under the limits that it had.
            return

    def _claim_of_its_task(self, job: EngineJob) -> Claim | None:
        try:
            task = self._tasks.get(job.function) if self._tasks is not None else None
            if task is None or task.defaults.unique is None:
                return None
            claim = task.defaults.unique.claim(task.name, task.signature.filled(job.kwargs or {}))
        except (UnknownTask, InvalidArguments):
            # A worker whose code fits the job knows the claim.
            return None
        return Claim(claim.id, dataclasses.replace(claim.unique, on_conflict="ignore"))


def check_retried(job: EngineJob, enqueued: Enqueued) -> None:
    """Check that a retry has enqueued the job itself.

    Raises:
        JobConflict: another job exists in its place.
    """
    if not enqueued.created:
        one_like_it = f"unique like {enqueued.key!r}, which waits or runs,"
        raise JobConflict(job.key, "queued" if enqueued.key == job.key else one_like_it, "retried")
