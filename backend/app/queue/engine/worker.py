"""EngineWorker: SAQ's worker with an orderly stop.

Subclasses `saq.worker.Worker` of SAQ 0.26. Overridden, and why:

- `SIGNALS`: several workers share one event loop; `app/worker.py` handles the signals for all of them.
- `worker_info`: SAQ's lives a second longer than its renewal takes; what `recovery.py` takes for death must be
  longer than a busy event loop may pause.
- `schedule`, `abort`: SAQ logs a stack trace a second while Redis is away; that it is away is logged once.
- `upkeep`, `stop`: SAQ waits for its upkeep loops, which sleep up to a minute, so that an idle worker takes its
  whole grace period to stop; slots that wait for a job would still run one that comes after the stop; and a job
  that swallows its cancellation would keep the process for ever.
"""

import asyncio
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from saq import Job
from saq.types import Context, WorkerInfo
from saq.worker import Worker, ensure_coroutine_function_many

from app.queue.engine.queue import HANDED_BACK, REDIS_AWAY, EngineQueue
from app.queue.errors import QueueUnavailable

DEQUEUE_TIMEOUT = 1.0
"""Seconds a slot waits for a job before it looks whether the worker is stopping."""


SWEEP_INTERVAL = 10
"""Seconds between two looks for jobs that a dead worker left behind."""

REPORT_TTL = 30
"""Seconds after its last report that a worker counts as dead; it reports every 10."""


logger = logging.getLogger("app.worker")


class EngineWorker(Worker[Context]):
    """Runs the jobs of one queue. Takes the arguments of SAQ's Worker."""

    SIGNALS: list[signal.Signals] = []  # noqa: RUF012  (as SAQ declares it)

    def __init__(self, queue: Any, functions: Any, **options: Any) -> None:
        options["dequeue_timeout"] = options.get("dequeue_timeout") or DEQUEUE_TIMEOUT
        options["timers"] = {"sweep": SWEEP_INTERVAL, **(options.get("timers") or {})}
        super().__init__(queue, functions, **options)
        self._upkeep: list[asyncio.Task[None]] = []
        self._stop_requested = False

    async def start(self) -> None:
        if isinstance(self.queue, EngineQueue):
            self.queue.closing, self.queue.waits_for_redis = False, True
        try:
            await super().start()
        finally:
            self._stop_requested = False
            if isinstance(self.queue, EngineQueue):
                self.queue.waits_for_redis = False

    async def schedule(self, lock: int = 1) -> None:
        with suppress(*REDIS_AWAY, QueueUnavailable):
            await super().schedule(lock)

    async def abort(self, abort_threshold: float) -> None:
        with suppress(*REDIS_AWAY):
            await super().abort(abort_threshold)

    def request_stop(self) -> None:
        """Let `start` come to its end, orderly; also before it has begun, when SAQ would forget it."""
        self._stop_requested = True
        self.event.set()

    async def worker_info(self, ttl: int = REPORT_TTL) -> WorkerInfo:
        return await super().worker_info(max(ttl, REPORT_TTL))

    async def upkeep(self) -> list[asyncio.Task[None]]:
        # Before the first job: a job of a worker that does not report is taken for a dead one's.
        await self._report()
        if self._stop_requested:
            self.event.set()
        self._upkeep = await super().upkeep()
        return self._upkeep

    async def stop(self) -> None:
        """Take no more jobs, let running ones finish within the grace period, hand the rest back.

        Ends in bounded time, also when a job ignores its cancellation: the grace period and three times the
        cancellation deadline.
        """
        self.event.set()
        if isinstance(self.queue, EngineQueue):
            self.queue.closing = True
        async with self._stop_lock:
            if self._stopped:
                return
            self._stopped = True
            upkeep = set(self._upkeep)
            slots = self.tasks - upkeep
            self.tasks.clear()
            await self._drain(slots)
            for task in upkeep:
                task.cancel()
            await _finish(upkeep, self._cancellation_hard_deadline_s)
            await self._hand_back({slot for slot in slots if not slot.done()})
            await self._say_goodbye()
            self.pool.shutdown(wait=False, cancel_futures=True)
            for hook in ensure_coroutine_function_many(self.shutdown, ThreadPoolExecutor()) if self.shutdown else ():
                await hook(self.context)

    async def _drain(self, slots: set[asyncio.Task[Any]]) -> None:
        """Let jobs finish within the grace period, and go on reporting: they are not a dead worker's."""
        loop = asyncio.get_running_loop()
        end = loop.time() + (self._shutdown_grace_period_s or 0)
        while (left := end - loop.time()) > 0 and any(not slot.done() for slot in slots):
            await _finish(slots, min(left, self.timers["worker_info"]))
            await self._report()

    async def _report(self) -> None:
        with suppress(*REDIS_AWAY):
            await self.worker_info()

    async def _hand_back(self, slots: set[asyncio.Task[Any]]) -> None:
        """Cancel the jobs of these slots and queue them again; SAQ's slot does so itself when its job yields."""
        for slot in slots:
            slot.cancel()
        # Twice the deadline: a slot waits once for its job, and then has Redis to write to.
        await _finish(slots, 2 * self._cancellation_hard_deadline_s)
        if not any(not slot.done() for slot in slots):
            return
        for job in list(self.job_task_contexts):
            logger.warning("job %s ignores its cancellation; it is queued again", job.key)
            await self.queue.retry(job, HANDED_BACK)

    async def _say_goodbye(self) -> None:
        if isinstance(self.queue, EngineQueue):
            with suppress(*REDIS_AWAY):
                await self.queue.forget_worker(self.id)


async def _finish(tasks: set[asyncio.Task[Any]], seconds: float) -> None:
    """Wait for tasks, not longer than `seconds`, and whatever they do about a cancellation.

    `asyncio.wait_for`, which SAQ uses here, waits for ever for a task that swallows its cancellation.
    """
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


class AbridgedJobs(logging.Filter):
    """Keeps job arguments out of SAQ's log lines, which otherwise print whole jobs when one fails."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg.info(False) if isinstance(arg, Job) else arg for arg in record.args)
        return True
