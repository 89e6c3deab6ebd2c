"""Key conflicts: a job is not written while a row of the outbox has its key.

If the job of that row is being aborted, the new one is written when that has ended: it is never dropped for a job that
is ending.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from saq import Job
from saq.job import Status

from saqueduct.broker.outage import answering
from saqueduct.errors import QueueUnavailable
from saqueduct.queue.aborting import Patience
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.job import Enqueued

Write = Callable[[Sequence[Job]], Awaitable[list[Enqueued]]]
"""Writes jobs, and returns for each whether it was written."""


async def write_after_aborts(queue: EngineQueue, jobs: Sequence[Job], write: Write) -> list[Enqueued]:
    """Write jobs; wait for those of their keys that are being aborted.

    Args:
        queue: of the jobs.
        jobs: to write.
        write: writes them.

    Raises:
        JobConflict: the job that is being aborted has not ended in time, or makes this call itself.
    """
    answers = await write(jobs)
    patience = Patience(queue.core.timings)
    while (refused := dict(_refused(answers))) and (ending := await _being_aborted(queue, list(refused))):
        await patience.wait(ending[0])
        places = [refused[key] for key in ending]
        for place, answer in zip(places, await write([jobs[place] for place in places]), strict=True):
            answers[place] = answer
    return answers


def _refused(answers: Sequence[Enqueued]) -> Iterator[tuple[str, int]]:
    """The keys that were not written, each with the place of its first job."""
    seen = {answer.key for answer in answers if answer.created}
    for place, answer in enumerate(answers):
        if answer.key not in seen:
            seen.add(answer.key)
            yield answer.key, place


async def _being_aborted(queue: EngineQueue, keys: Sequence[str]) -> list[str]:
    """Those of the keys whose jobs are being aborted; none if Redis does not answer, as it then aborts no job."""
    try:
        async with answering():
            jobs = await queue.jobs(keys)
    except QueueUnavailable:
        return []
    return [job.key for job in jobs if job is not None and job.status is Status.ABORTING]
