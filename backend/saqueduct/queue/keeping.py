"""Writing jobs to the outbox: a job that is being aborted blocks one with the same key until it has ended."""

from collections.abc import Awaitable, Callable, Sequence

from saq import Job
from saq.job import TERMINAL_STATUSES, Status

from saqueduct.broker.outage import REDIS_AWAY
from saqueduct.errors import DuplicateJob
from saqueduct.queue.aborting import Patience
from saqueduct.queue.core import QueueCore
from saqueduct.queue.reading import Reader
from saqueduct.tasks.job import EngineJob, Enqueued

Write = Callable[[Sequence[Job]], Awaitable[list[Enqueued]]]
"""Writes jobs to the outbox."""


class Keeper:
    """Writes jobs of one queue to the outbox, and waits for those that are being aborted.

    Args:
        core: of the queue.
        reader: reads its jobs.
    """

    def __init__(self, core: QueueCore, reader: Reader) -> None:
        self._core = core
        self._reader = reader

    async def keep(self, jobs: Sequence[Job], write: Write) -> list[Enqueued]:
        """Write jobs; if a job with the same key is being aborted, wait until it has ended.

        Raises:
            DuplicateJob: a unique job with `on_conflict="raise"` already exists; the others are written.
            JobConflict: it has not ended in time.
        """
        answers = await write(jobs)
        patience = Patience(self._core.timings)
        ended = set[int]()
        while True:
            status_of = await self._statuses_of_existing(answers)
            places = [place for place, status in status_of.items() if status is Status.ABORTING]
            if places:
                await patience.wait(answers[places[0]].key)
            else:
                # It has ended, and its row may be gone by now. If it is still there, PostgreSQL does not know the end.
                known, ended = ended, {place for place, status in status_of.items() if status in TERMINAL_STATUSES}
                places = sorted(ended - known)
            if not places:
                _check_conflicts(jobs, answers)
                return answers
            for place, answer in zip(places, await write([jobs[place] for place in places]), strict=True):
                answers[place] = answer

    async def _statuses_of_existing(self, answers: Sequence[Enqueued]) -> dict[int, Status]:
        """By place, the status of the job that exists instead of the one to write, if Redis has it."""
        places = [place for place, answer in enumerate(answers) if not answer.created]
        if not places:
            return {}
        try:
            found = await self._reader.by_id([self._core.job_id(answers[place].key) for place in places])
        except REDIS_AWAY:
            # The outbox accepts jobs without Redis.
            return {}
        return {
            place: job.status
            for place, job in zip(places, found, strict=True)
            if job is not None and not job.unreadable
        }


def _check_conflicts(jobs: Sequence[Job], answers: Sequence[Enqueued]) -> None:
    """Raise the first conflict that the publisher could only log, as the jobs were in the outbox by then."""
    for job, answer in zip(jobs, answers, strict=True):
        claim = job.claim if isinstance(job, EngineJob) else None
        lost = not answer.created and answer.key != job.key
        if lost and claim is not None and claim.unique.on_conflict == "raise":
            raise DuplicateJob(job.function, answer.key)
