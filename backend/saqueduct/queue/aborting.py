"""Aborting: a job that is to be aborted is in the way of a new one of its key, or its unique claim, until it has ended.

An enqueue waits for that end: the new job is enqueued then, and never silently dropped for a job that dies.
"""

import asyncio
from typing import NamedTuple

from saqueduct.errors import JobConflict
from saqueduct.tasks import current_job
from saqueduct.timings import Timings


class BeingAborted(NamedTuple):
    """A job is being aborted that is in the way of the one to be enqueued; `by_stock`: a stock worker runs it."""

    by_stock: bool


class Patience:
    """Waits between the tries to enqueue, and not for ever.

    Args:
        timings: of the queue.
    """

    def __init__(self, timings: Timings) -> None:
        self._look = timings.abort_look
        self._end = asyncio.get_running_loop().time() + timings.abort_wait

    @property
    def over(self) -> bool:
        """True when it has been waited for long enough."""
        return asyncio.get_running_loop().time() >= self._end

    async def wait(self, key: str) -> None:
        """Wait until the next try to enqueue a job of that key.

        Raises:
            JobConflict: the job in the way has not ended in time, or it is the one that enqueues.
        """
        running = current_job.job.get()
        if self.over or (running is not None and running.key == key):
            raise JobConflict(key, "aborting", "enqueued anew before it has ended")
        await asyncio.sleep(self._look)
