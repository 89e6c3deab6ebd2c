"""Running jobs here: real workers in the running event loop, until their work is done."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import cast

from saqueduct.common import clock
from saqueduct.queue.queue import EngineQueue
from saqueduct.worker.worker import EngineWorker

PAUSE = 0.005
"""Seconds between two checks of what is left to run."""

Remaining = Callable[[], Awaitable[Sequence[float]]]
"""Returns what is left to run: when each job is due, in epoch seconds; 0: it is queued or runs."""


class NotDrained(AssertionError):
    """Jobs did not end; the message names them."""


@dataclasses.dataclass(frozen=True, slots=True)
class Drained:
    """The outcomes of the jobs that were run.

    Attributes:
        complete: jobs that ended with a result.
        failed: jobs that ended with an error.
        aborted: jobs that were aborted, or not started before they expired.
        retried: attempts that failed and were followed by another.
    """

    complete: int = 0
    failed: int = 0
    aborted: int = 0
    retried: int = 0

    @property
    def attempts(self) -> int:
        """How often a job was run or ended."""
        return self.complete + self.failed + self.aborted + self.retried

    def __sub__(self, earlier: "Drained") -> "Drained":
        return Drained(
            self.complete - earlier.complete,
            self.failed - earlier.failed,
            self.aborted - earlier.aborted,
            self.retried - earlier.retried,
        )


def counted(workers: Iterable[EngineWorker]) -> Drained:
    """The outcomes that these workers have written so far, as their queues count them."""
    queues = [worker.queue for worker in workers]
    return Drained(
        sum(queue.complete for queue in queues),
        sum(queue.failed for queue in queues),
        sum(queue.aborted for queue in queues),
        sum(queue.retried for queue in queues),
    )


async def run_until_done(workers: Sequence[EngineWorker], left: Remaining, timeout: float) -> None:
    """Run workers until nothing is left to do; delayed jobs run immediately, because the queue's clock is advanced.

    Args:
        workers: of queues that are connected to the running event loop.
        left: returns what is left to do.
        timeout: seconds, of real time, that all this may take.

    Raises:
        NotDrained: it took longer, or only jobs of paused queues are left.
    """
    if not await left():
        return
    deadline = time.monotonic() + timeout
    look, queues = 0.0, engine_queues(workers)
    interval = min(queue.core.timings.drain_look for queue in queues)
    async with working(workers) as running:
        with ExitStack() as journey:
            while due := await left():
                await _check(running, workers, deadline, timeout)
                if time.monotonic() >= look:
                    look = time.monotonic() + interval
                    await _check_pauses(queues, left)
                ahead = min(due) - clock.time_now()
                if min(due) == 0:
                    await asyncio.sleep(PAUSE)
                    continue
                if ahead > 0:
                    journey.enter_context(clock.shifted(ahead))
                await promote(queues)


async def promote(queues: Iterable[EngineQueue]) -> None:
    """Queue the jobs that are due, without waiting for a worker to check."""
    for queue in queues:
        while await queue.schedule():
            pass


def engine_queues(workers: Iterable[EngineWorker]) -> list[EngineQueue]:
    """The queues that these workers serve."""
    return [cast("EngineQueue", worker.queue) for worker in workers]


@asynccontextmanager
async def working(workers: Iterable[EngineWorker]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Workers that run in this event loop during a block, their schedules declared; yields their tasks."""
    workers = list(workers)
    running = [asyncio.create_task(worker.start()) for worker in workers]
    try:
        for worker, task in zip(workers, running, strict=True):
            if worker.scheduled is not None:
                declared = asyncio.create_task(worker.declared.wait())
                await asyncio.wait({declared, task}, return_when=asyncio.FIRST_COMPLETED)
                declared.cancel()
        yield running
    finally:
        for worker in workers:
            worker.request_stop()
        await asyncio.gather(*running)


async def _check_pauses(queues: Iterable[EngineQueue], left: Remaining) -> None:
    """Raise if the remaining jobs will never run."""
    stuck = []
    for queue in queues:
        if not await queue.count("incomplete"):
            continue
        pause = await queue.paused()
        if pause is None or await queue.count("active"):
            return
        words = ", ".join(filter(None, (pause.by and f"by {pause.by}", pause.why)))
        stuck.append(f"{queue.name} ({words})" if words else queue.name)
    # Checked again: the remaining jobs may have ended before the queues were checked.
    if stuck and await left():
        raise NotDrained(f"jobs are left in paused queues: {'; '.join(stuck)}; resume them first")


async def _check(
    running: Iterable[asyncio.Task[None]], workers: Iterable[EngineWorker], deadline: float, timeout: float
) -> None:
    for task in running:
        if task.done():
            # A worker that could not start: its error says more than a deadline.
            task.result()
    if time.monotonic() < deadline:
        return
    incomplete = [
        f"{await worker.queue.count('incomplete')} in the queue {worker.queue.name}, "
        f"{await worker.queue.count('active')} of them running"
        for worker in workers
    ]
    raise NotDrained(f"jobs have not ended within {timeout:g} s: {'; '.join(incomplete)}")
