"""EngineWorker: SAQ's worker, whose jobs are leased and settled in batches, with an orderly stop.

Subclasses `saq.worker.Worker` of SAQ 0.26 and takes its arguments and hooks. On a queue that is no EngineQueue it is
SAQ's worker, except for its stop. Overridden, and why:

- `SIGNALS`: several workers share one event loop; `app/worker.py` handles the signals for all of them.
- `_process`: SAQ has one loop per slot, each with a blocking connection and some round trips per job; here `JobRunner`
  runs all jobs of the worker. `process`, which runs one job in SAQ's way, is not overridden.
- `schedule`: SAQ computes ticks with the clock of the worker, so that a worker whose clock is behind fires a tick again
  and again, and it enqueues every cron every second. SAQ's `cron_jobs` still work as in SAQ, the next tick enqueued
  ahead; `Ticker` handles the schedules of tasks.
- `schedule`, `abort`: SAQ logs a stack trace per second while Redis is away; here the outage is logged once.
- `worker_info`: SAQ's periodic report expires only a second after its next renewal is due.
- `upkeep`, `stop`: SAQ waits for its upkeep loops, which sleep up to a minute, so that an idle worker takes its
  whole grace period to stop; slots that wait for a job would still run one that comes after the stop; and a job that
  swallows its cancellation would keep the process forever.
"""

import asyncio
import datetime as dt
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any, cast

import saq.worker
from croniter import croniter
from redis.exceptions import RedisError
from saq.job import CronJob
from saq.types import Context, WorkerInfo
from saq.worker import Worker, ensure_coroutine_function_many

from saqueduct.errors import QueueUnavailable
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.unique import EVERY_STATE, Claim, Unique
from saqueduct.timings import Timings
from saqueduct.worker import postponement
from saqueduct.worker.functions import TaskFunctions
from saqueduct.worker.job_runner import JobRunner
from saqueduct.worker.misfit import DEPLOY_WINDOW
from saqueduct.worker.ticker import Ticker

REPORT = 1
"""Seconds between two reports, whose counters SAQ's page and `workers list` show. SAQ has 10."""

TICK_CLAIM = 3600.0
"""Seconds for which a tick that has come due stays claimed."""

TICK_CHECK = 30.0
"""Seconds after which a worker looks again whether a cron's next tick is enqueued."""

logger = logging.getLogger("saqueduct.worker")


class EngineWorker(Worker[Context]):
    """Runs the jobs of one queue.

    Args:
        queue: the queue.
        functions: as SAQ's Worker takes them.
        scheduled: tasks whose schedules this queue's workers run; None: the schedules in Redis stay unchanged. SAQ's
            own `cron_jobs` work in addition.
        deploy_window: seconds for which a job that this worker's code does not fit goes back to the queue; see
            `misfit`.
        outage_limit: seconds for which a job is postponed whose attempts meet an outage of PostgreSQL or Redis.
        record_logs: True: what jobs log is kept with their records, unless their task says otherwise.
        version: of the application's code, for its reports.
        options: further arguments of SAQ's Worker.
    """

    SIGNALS: list[signal.Signals] = []  # noqa: RUF012  (as SAQ declares it)

    def __init__(
        self,
        queue: Any,
        functions: Any,
        *,
        scheduled: Sequence[TaskDefinition] | None = None,
        deploy_window: float = DEPLOY_WINDOW,
        outage_limit: float = postponement.LIMIT,
        record_logs: bool = False,
        version: str = "",
        **options: Any,
    ) -> None:
        super().__init__(queue, functions, **options)
        self.timings = queue.core.timings if isinstance(queue, EngineQueue) else Timings()
        given = options.get("timers") or {}
        if "worker_info" not in given:
            self.timers["worker_info"] = REPORT
        if not self.cron_jobs and "schedule" not in given:
            self.timers["schedule"] = self.timings.due_look
        self.scheduled = scheduled
        self.task_functions = TaskFunctions(self.functions, queue.name, record_logs=record_logs)
        self.deploy_window = deploy_window
        self.outage_limit = outage_limit
        self.version = version
        self.declared = asyncio.Event()
        """Set when this worker has declared the schedules in Redis."""
        self.on_useless: Callable[[], None] = self.request_stop
        """Called when so many attempts ignore their cancellation that this process should be replaced."""
        self._useless = False
        self._ticker: Ticker | None = None
        self._upkeep: list[asyncio.Task[None]] = []
        self._stop_requested = False
        self._runner: JobRunner | None = None
        self._leasing: asyncio.Task[None] | None = None
        self._ticks: dict[str, float] = {}
        """Epoch seconds until which the tick of a cron is enqueued."""

    async def start(self) -> None:
        tracer = self.queue.core.tracer if isinstance(self.queue, EngineQueue) else None
        try:
            with nullcontext() if tracer is None else tracer.resting():
                await super().start()
        finally:
            self._stop_requested = False

    def request_stop(self) -> None:
        """Let `start` end gracefully, also before it has begun, when SAQ would forget the request."""
        self._stop_requested = True
        self.event.set()

    def give_up(self, reason: str) -> None:
        """This worker is no longer useful."""
        if not self._useless:
            self._useless = True
            logger.critical("the worker of the queue %s stops, its jobs go back: %s", self.queue.name, reason)
            self.on_useless()

    def give_leases_back(self) -> None:
        """Release the jobs of this worker to others, from another thread: its event loop is blocked for good."""
        if self._runner is not None:
            self._runner.keeper.give_all_back()

    @property
    def in_quarantine(self) -> bool:
        """True while this process may run few jobs, because the workers of one of its jobs died often; see
        `quarantine.py`."""
        return self._runner is not None and self._runner.suspects.quarantine.active

    async def schedule(self, lock: int = 1) -> None:
        with suppress(RedisError, OSError, QueueUnavailable):
            if not isinstance(self.queue, EngineQueue):
                await super().schedule(lock)
                return
            await self._enqueue_ticks(self.queue)
            if promoted := await self.queue.schedule(lock):
                saq.worker.logger.info("Scheduled %s", promoted)

    async def _enqueue_ticks(self, queue: EngineQueue) -> None:
        """Enqueue the next tick of each cron as a delayed job, by the clock of Redis."""
        current = await queue.time() if self.cron_jobs else 0.0
        for cron in self.cron_jobs:
            function = cron.function.__qualname__
            if current >= self._ticks.get(function, 0.0):
                tick = int(croniter(cron.cron, dt.datetime.fromtimestamp(current, self.cron_tz)).get_next())
                if await self._stands(queue, cron, tick, tick - current):
                    # Checked again before the tick, because the job may have been deleted.
                    self._ticks[function] = min(tick, current + TICK_CHECK) if cron.unique else tick

    async def _stands(self, queue: EngineQueue, cron: CronJob[Context], tick: int, ahead: float) -> bool:
        """Enqueue a tick, unless it is enqueued already; False while the job of an earlier tick blocks it.

        The tick is claimed: a worker that computed it just before it was due does not enqueue it a second time.
        """
        fields = {name: value for name, value in vars(cron).items() if value is not None}
        function = fields.pop("function").__qualname__
        key = f"cron:{function}"
        if fields.pop("unique"):
            fields["key"] = key
        del fields["cron"]
        job = queue.validator.job(function, {**fields, "scheduled": tick})
        if isinstance(job, EngineJob) and job.claim is None:
            job.claim = Claim(f"{key}:{tick}", Unique(period=ahead + TICK_CLAIM, states=EVERY_STATE))
        if await queue.enqueue(job) is not None:
            return True
        existing = await queue.job(key)
        return existing is not None and existing.scheduled == tick

    async def abort(self, abort_threshold: float) -> None:
        with suppress(RedisError, OSError):
            await self._look_at_slots(abort_threshold)
            await super().abort(abort_threshold)

    async def _look_at_slots(self, abort_threshold: float) -> None:
        with suppress(RedisError, OSError):
            if self._runner is not None:
                self._runner.deadlines.end_silent()
                await self._runner.deadlines.abort_requested(abort_threshold)

    async def worker_info(self, ttl: int = Timings().report_ttl) -> WorkerInfo:
        periodic = ttl == self.timers["worker_info"] + 1
        try:
            return await super().worker_info(self.timings.report_ttl if periodic else ttl)
        except (RedisError, OSError):
            if not periodic:
                raise
            # That Redis is away is logged where jobs are leased.
            return cast("WorkerInfo", {})

    async def upkeep(self) -> list[asyncio.Task[None]]:
        if self._stop_requested:
            self.event.set()
        self._upkeep = await super().upkeep()
        if isinstance(self.queue, EngineQueue):
            self._runner = JobRunner(self, self.queue)
            self._upkeep.append(asyncio.create_task(self._runner.look_for_orphans()))
            self._leasing = asyncio.create_task(self._runner.run())
            self._leasing.add_done_callback(self._leasing_ended)
            if self.queue.store is not None:
                self._upkeep.append(asyncio.create_task(self.queue.store.watch(self.queue)))
            self.declared.clear()
            if self.scheduled is not None:
                self._ticker = Ticker(self.queue, self.scheduled, self.cron_tz, self.declared)
                self._upkeep.append(asyncio.create_task(self._ticker.run()))
        return self._upkeep

    def _leasing_ended(self, leasing: asyncio.Task[None]) -> None:
        """A live worker that leases nothing would be worse than none."""
        if leasing.cancelled() and not self.event.is_set():
            self.give_up("a job cancelled its tasks")

    def _process(self, previous_task: asyncio.Task[Any] | None = None) -> None:
        if self._runner is None:
            super()._process(previous_task)

    async def stop(self) -> None:
        """Take no more jobs, let running ones finish within the grace period, and release the rest.

        Ends in bounded time, also when a job ignores its cancellation: the grace period and three times the
        cancellation deadline.
        """
        self.event.set()
        async with self._stop_lock:
            if self._stopped:
                return
            self._stopped = True
            upkeep = set(self._upkeep)
            processes = self.tasks - upkeep
            self.tasks.clear()
            if self._ticker is not None:
                self._ticker.stop()
            if self._runner is not None:
                self._runner.stop_leasing()
            await self._drain(processes)
            await _cancel(upkeep, self._cancellation_hard_deadline_s)
            await self._release({task for task in processes if not task.done()})
            await self._say_goodbye()
            self.pool.shutdown(wait=False, cancel_futures=True)
            for hook in ensure_coroutine_function_many(self.shutdown, ThreadPoolExecutor()) if self.shutdown else ():
                await hook(self.context)

    async def _end_leasing(self) -> None:
        """A lease call in progress is completed; otherwise its jobs would wait until the lease expires."""
        if self._leasing is not None:
            await _finish({self._leasing}, self._cancellation_hard_deadline_s)
            self._leasing.cancel()

    async def _drain(self, processes: set[asyncio.Task[Any]]) -> None:
        """Let jobs finish within the grace period, and continue to report, renew leases and look for aborts."""
        loop = asyncio.get_running_loop()
        grace = self._shutdown_grace_period_s or 0
        end = loop.time() + grace
        if self._runner is not None and self._busy():
            running = len(self._runner.running)
            logger.info("queue %s: jobs still running: %d; they get %.0f s to end", self.queue.name, running, grace)
        report = loop.time() + self.timers["worker_info"]
        while (left := end - loop.time()) > 0 and (self._busy() or any(not task.done() for task in processes)):
            pause = min(left, self.timers["abort"], self.timers["worker_info"])
            if self._runner is not None and self._busy():
                await self._runner.drain(pause)
            else:
                await _finish(processes, pause)
            await _within(left, self._look_at_slots(self.timers["abort"]))
            if loop.time() >= report:
                report = loop.time() + self.timers["worker_info"]
                await _within(left, self._report())
        if self._runner is not None and self._busy():
            running = len(self._runner.running)
            logger.warning("queue %s: jobs that did not end in time and go back: %d", self.queue.name, running)

    def _busy(self) -> bool:
        return self._runner is not None and bool(self._runner.running)

    async def _report(self) -> None:
        with suppress(RedisError, OSError):
            await self.worker_info()

    async def _release(self, processes: set[asyncio.Task[Any]]) -> None:
        """Cancel what still runs and queue it again."""
        deadline = self._cancellation_hard_deadline_s
        for task in processes:
            task.cancel()
        if self._runner is not None:
            await self._runner.release(deadline)
            await self._end_leasing()
            await self._runner.close()
            self._runner = None
        # Twice the deadline: SAQ's process waits once for its job, and then has Redis to write to.
        await _finish(processes, 2 * deadline)

    async def _say_goodbye(self) -> None:
        if isinstance(self.queue, EngineQueue):
            with suppress(RedisError, OSError):
                await _within(self.timings.stop_call, self.queue.forget_worker(self.id))


async def _within(seconds: float, call: Coroutine[Any, Any, Any]) -> None:
    """Await a call that may be skipped, for at most so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await call


async def _finish(tasks: set[asyncio.Task[Any]], seconds: float) -> None:
    """Wait for tasks for at most `seconds`, however they handle a cancellation.

    `asyncio.wait_for`, which SAQ uses here, waits forever for a task that swallows its cancellation.
    """
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


async def _cancel(tasks: set[asyncio.Task[Any]], seconds: float) -> None:
    """Cancel tasks until they have ended, for at most so long: SAQ's upkeep swallows one cancellation and continues."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := {task for task in tasks if not task.done()}) and loop.time() < end:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=0.05)
