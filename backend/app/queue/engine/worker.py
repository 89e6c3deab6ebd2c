"""EngineWorker: SAQ's worker with an orderly stop.

Subclasses `saq.worker.Worker` of SAQ 0.26. Overridden, and why:

- `SIGNALS`: several workers share one event loop; `app/worker.py` handles the signals for all of them.
- `upkeep`, `stop`: SAQ waits for its upkeep loops, which sleep up to a minute, so that an idle worker takes its
  whole grace period to stop; and slots that wait for a job would still run one that comes after the stop.
"""

import asyncio
import logging
import signal
from typing import Any

from saq import Job
from saq.types import Context
from saq.worker import Worker

from app.queue.engine.queue import EngineQueue

DEQUEUE_TIMEOUT = 1.0
"""Seconds a slot waits for a job before it looks whether the worker is stopping."""


class EngineWorker(Worker[Context]):
    """Runs the jobs of one queue. Takes the arguments of SAQ's Worker."""

    SIGNALS: list[signal.Signals] = []  # noqa: RUF012  (as SAQ declares it)

    def __init__(self, queue: Any, functions: Any, **options: Any) -> None:
        options["dequeue_timeout"] = options.get("dequeue_timeout") or DEQUEUE_TIMEOUT
        super().__init__(queue, functions, **options)
        self._upkeep: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        if isinstance(self.queue, EngineQueue):
            self.queue.closing = False
        await super().start()

    async def upkeep(self) -> list[asyncio.Task[None]]:
        self._upkeep = await super().upkeep()
        return self._upkeep

    async def stop(self) -> None:
        """Take no more jobs, let running ones finish within the grace period, hand the rest back."""
        self.event.set()
        if isinstance(self.queue, EngineQueue):
            self.queue.closing = True
        for task in self._upkeep:
            task.cancel()
        await super().stop()


class AbridgedJobs(logging.Filter):
    """Keeps job arguments out of SAQ's log lines, which otherwise print whole jobs when one fails."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg.info(False) if isinstance(arg, Job) else arg for arg in record.args)
        return True
