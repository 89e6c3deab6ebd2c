"""Aborting: a job that is being aborted blocks a new job with its key, or its unique claim, until it has ended.

An enqueue waits for that end, and then enqueues the new job: it is never silently dropped for a job that is ending.
"""

import asyncio
from typing import NamedTuple

from saqueduct.errors import JobConflict
from saqueduct.tasks import current_job
from saqueduct.timings import Timings


class BeingAborted(NamedTuple):
    """A job that is being aborted blocks the one to enqueue; `by_stock`: a stock worker runs it."""

    by_stock: bool


class Patience:
    """Waits between the tries to enqueue, up to a limit.

    Args:
        timings: the queue's timings.
    """

    def __init__(self, timings: Timings) -> None:
        self._look = timings.abort_look
        self._end = asyncio.get_running_loop().time() + timings.abort_wait

    @property
    def over(self) -> bool:
        """True when the maximum wait is over."""
        return asyncio.get_running_loop().time() >= self._end

    async def wait(self, key: str) -> None:
        """Wait before the next try to enqueue a job with that key.

        Raises:
            JobConflict: the blocking job has not ended in time, or it is the job that makes this call.
        """
        running = current_job.job.get()
        if self.over or (running is not None and running.key == key):
            raise JobConflict(key, "aborting", "enqueued again before it has ended")
        await asyncio.sleep(self._look)
