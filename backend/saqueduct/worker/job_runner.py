"""JobRunner: runs the jobs of a worker concurrently, leased as slots become free."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError
from saq import Job
from saq.job import Status

from saqueduct.broker.outage import REDIS_AWAY
from saqueduct.queue.outcomes import Outcome
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks import current_job
from saqueduct.tasks.job import EngineJob, Held
from saqueduct.tasks.job_meta import DURABLE
from saqueduct.worker import loop_monitor
from saqueduct.worker.attempt import Attempt, Runtime
from saqueduct.worker.attempt_outcomes import AttemptOutcomes
from saqueduct.worker.closings import Closings
from saqueduct.worker.deadlines import Deadlines
from saqueduct.worker.heartbeat import Heartbeat
from saqueduct.worker.host import Host
from saqueduct.worker.leases import LeaseKeeper
from saqueduct.worker.leasing import Leased, Leasing
from saqueduct.worker.lost_leases import LostLeases
from saqueduct.worker.outcome_buffer import OutcomeBuffer
from saqueduct.worker.resting import Resting
from saqueduct.worker.suspects import LOOK_FOR_ROOM, Suspects
from saqueduct.worker.traced_attempt import TracedAttempt
from saqueduct.worker.waiting import Waiting

logger = logging.getLogger("saqueduct.worker")

JOBS_PER_LEASE = 500
"""Jobs that one script call leases at most."""

STARTS = 16
"""Jobs that start in one iteration of the event loop, or a sixth of the slots, if that is more."""

RECORDS_CHECK = 0.05
"""Seconds until a worker that waits for job records to be written looks again."""

SHARED = 0.001
"""Seconds that other workers get to take their share when there are few jobs, before this one takes more."""

BRIEF = 3
"""Iterations of the event loop that jobs get before the worker waits for others: the outcomes of short ones go
first."""

BURST_LOOK = 0.05
"""Most seconds until a burst with running jobs checks whether other jobs have arrived."""

GIVEN_UP = 2
"""Times its concurrency that a worker may have attempts that ignore their cancellation, before it stops."""

GIVEN_UP_LEAST = 8
"""Such attempts that every worker tolerates."""

UNWRITTEN = 10
"""Unwritten outcomes, as a multiple of its concurrency, at which a worker stops leasing."""


class JobRunner:
    """Leases and runs the jobs of one queue.

    Jobs that were leased start in a few turns of the event loop: while the first outcomes are written and further
    jobs leased, the others run, so that neither this process nor Redis waits for the other.

    Args:
        worker: whose functions, hooks and context the jobs get.
        queue: the queue.
    """

    def __init__(self, worker: Host, queue: EngineQueue) -> None:
        self.worker = worker
        self.queue = queue
        self.core = queue.core
        self.running: dict[Held, Attempt] = {}
        self.taken = 0
        self._ready: deque[EngineJob] = deque()
        """Leased and about to start; each holds its slot."""
        self._at_once = max(STARTS, worker.concurrency // 6)
        self._stopping = asyncio.Event()
        self._freed = asyncio.Event()
        """A slot may be free."""
        self._paused = False
        """The queue is."""
        self._waiting = Waiting(queue.core, queue.schedule, self._stopping)
        self.loop = asyncio.get_running_loop()
        self._resting = Resting(queue.name, self.loop, self._waiting.interrupt, self._freed.set)
        self.given_up: set[Attempt] = set()
        """Attempts that still run although their jobs were settled; they no longer hold a slot."""
        self._task: asyncio.Task[None] | None = None
        self.pulse = loop_monitor.join(self._attempt_of, current_job.job, self.core.timings.loop_notice)
        lost = LostLeases(worker.id, self.core.timings.lost_lease_kept)
        self._outcomes = OutcomeBuffer(self.core, queue.settler, self._written)
        self._closings = Closings(self.core, self._outcomes, self._freed.set)
        self.leasing = Leasing(self.core, worker.id, self._waiting, self._outcomes, lost, self.pulse)
        beat = self._heartbeat().beat
        self.keeper = LeaseKeeper(self.core, self.pulse, self.running, lost, self._lost_in_thread, beat)
        self.deadlines = Deadlines(self.core, self.pulse, self.running)
        self.suspects = Suspects(self, self._stopping)
        self._runtime = self._runtime_of_attempts()

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(
            self.core,
            self.worker.id,
            self.worker.concurrency,
            self.leasing,
            self.pulse,
            self.running,
            self.given_up,
            self.worker.version,
            self._resting.ask_in_thread,
        )

    def _runtime_of_attempts(self) -> Runtime:
        worker = self.worker
        outcomes = AttemptOutcomes(
            self.core,
            worker.task_functions,
            deploy_window=worker.deploy_window,
            outage_limit=worker.outage_limit,
            version=worker.version,
        )
        return Runtime(
            core=self.core,
            loop=self.loop,
            pulse=self.pulse,
            leases=self.keeper,
            functions=worker.task_functions,
            context=worker.context,
            before=worker.before_process or (),
            after=worker.after_process or (),
            outcomes=outcomes,
            settle=self.settle,
            give_up=self.give_up,
            is_dying=self._is_dying,
        )

    @property
    def concurrency(self) -> int:
        """Slots of the worker."""
        return self.worker.concurrency

    async def run(self) -> None:
        """Lease and run jobs until `stop_leasing`."""
        self._task = asyncio.current_task()
        self.keeper.start()
        waits = 0.0
        while not self._stopping.is_set():
            self._freed.clear()
            if self._resting.asked:
                waits = 0.0
                await self._rest_until_resumed()
                continue
            free = await self.suspects.free(self._free) if self.suspects.quarantine.active else self._free()
            if free <= 0:
                waits = 0.0
                await self._wait_for_a_slot()
                continue
            try:
                leased = await self.leasing.lease(1 if waits else min(free, JOBS_PER_LEASE), self.taken_slots(), waits)
                if leased.suspects or self.suspects.quarantine.active:
                    await self.suspects.start(leased)
                self._take(leased.jobs)
            except Exception as error:
                if not isinstance(error, REDIS_AWAY):
                    # A live worker that takes no more jobs would be worse than one log line too many.
                    logger.exception("queue %s: could not lease jobs, retrying", self.queue.name)
                await self.core.outage.pause(error, self._stopping)
                waits = 0.0
                continue
            self.core.outage.over()
            self._waiting.due_in(leased.due)
            self._tell_pause(leased.paused)
            waits = 0.0 if self.suspects.wait else await self._rest(leased, waits)

    def stop_leasing(self) -> None:
        """Take no more jobs."""
        self._stopping.set()
        self._freed.set()
        self._waiting.stop()

    async def drain(self, seconds: float) -> None:
        """Wait until the running jobs have ended, for at most so long."""
        tasks = {attempt.task for attempt in self.running.values()}
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def release(self, seconds: float) -> None:
        """Cancel what still runs and queue it again, also what ignores its cancellation for so long."""
        for attempt in list(self.running.values()):
            attempt.release()
        await self.drain(seconds)
        for attempt in list(self.running.values()):
            attempt.give_up()

    async def close(self) -> None:
        """Write what is left to write, and stop renewing leases."""
        await self._waiting.close()
        await self.leasing.close()
        await self._closings.flushed()
        await self._outcomes.close()
        self.keeper.stop()
        loop_monitor.leave(self.pulse, self._attempt_of)
        self.suspects.leave()

    def _is_dying(self) -> bool:
        """True when the worker was cancelled, and not by the canceller of a job: the event loop ends."""
        return self._task is not None and self._task.cancelling() > 0

    def give_up(self, attempt: Attempt) -> None:
        """An attempt ignores its cancellation: count it until it ends. With too many of them the process is useless."""
        self.given_up.add(attempt)
        self.suspects.quarantine.lift(attempt)
        attempt.task.add_done_callback(lambda _: self.given_up.discard(attempt))
        if len(self.given_up) >= max(GIVEN_UP * self.worker.concurrency, GIVEN_UP_LEAST):
            self.worker.give_up(f"{len(self.given_up)} attempts ignore their cancellation")

    def _attempt_of(self, task: "asyncio.Task[Any] | None", job: Job | None) -> Attempt | None:
        """The attempt that runs in a task of the event loop, or has a job; called from another thread."""
        for attempt in list(self.running.values()) + list(self.given_up):
            if (task is not None and attempt.task is task) or (job is not None and attempt.job is job):
                return attempt
        return None

    def settle(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """An attempt has its outcome (None: there is nothing to write), and its slot is free."""
        self.running.pop(attempt.held, None)
        if self.core.give_backs.failed:
            self.core.give_backs.end(attempt.held)
        job, meter = attempt.job, self.core.meter
        if meter is not None and (begun := attempt.begun):
            # Without the seconds for which other jobs blocked the event loop, some of which may be before its begin.
            ran = self.pulse.fair() - begun + attempt.blocked
            # `max` costs more.
            job.ran = ran if ran > 0.0 else 0.0  # noqa: FURB136
        if outcome is not None:
            self.keeper.ended(attempt.held)
            if outcome.how.kind == "finish" and outcome.how.mark and job.meta.get(DURABLE):
                self._closings.add(outcome, job)
            else:
                self._outcomes.add(outcome, job)
        elif meter is not None:
            meter.lost(job)
        self._freed.set()

    async def look_for_orphans(self) -> None:
        """Recover the jobs of expired leases, every `Timings.recovery_look` seconds."""
        while not self._stopping.is_set():
            try:
                await self.queue.recover()
            except (RedisError, OSError):
                # An outage of Redis is logged where jobs are leased.
                logger.debug("queue %s: could not look for orphaned jobs", self.queue.name, exc_info=True)
            except Exception:
                logger.exception("queue %s: could not look for orphaned jobs, retrying", self.queue.name)
            await asyncio.sleep(self.core.timings.recovery_look)

    def _free(self) -> int:
        # A durable job keeps its slot until PostgreSQL knows its end. This bounds how many run again when the process
        # dies.
        free = self.worker.concurrency - self.taken_slots() - len(self._closings)
        if self.worker.burst and self.worker.max_burst_jobs is not None:
            free = min(free, self.worker.max_burst_jobs - self.taken)
        if self.core.recorder is not None and self.core.recorder.full:
            self.loop.call_later(RECORDS_CHECK, self._freed.set)
            return 0
        return free if len(self._outcomes) < UNWRITTEN * self.worker.concurrency else 0

    def taken_slots(self) -> int:
        """Slots that have a job."""
        return len(self.running) + len(self._ready)

    def _busy(self) -> bool:
        return bool(self.running or self._ready)

    def _spent(self) -> bool:
        return self.worker.max_burst_jobs is not None and self.taken >= self.worker.max_burst_jobs

    def run_at_once(self, job: EngineJob) -> Attempt:
        """Start a job that was leased on its own."""
        self.taken += 1
        self.keeper.hold([job])
        [attempt] = self._start([job])
        return attempt

    def wake(self) -> None:
        """Look for free slots."""
        self._freed.set()

    def _take(self, jobs: list[EngineJob]) -> None:
        self.taken += len(jobs)
        self.keeper.hold(jobs)
        starting = bool(self._ready)
        self._ready.extend(jobs)
        if not starting:
            self._start_some()

    def _start_some(self) -> None:
        if self._stopping.is_set():
            while self._ready:
                self.put_back(self._ready.popleft())
        self._start([self._ready.popleft() for _ in range(min(self._at_once, len(self._ready)))])
        if self._ready:
            self.loop.call_soon(self._start_some)

    def _start(self, jobs: list[EngineJob]) -> list[Attempt]:
        runtime, tracer, meter = self._runtime, self.core.tracer, self.core.meter
        if tracer is not None and (sampled := tracer.sampled(jobs)):
            kinds: list[type[Attempt]] = [Attempt] * len(jobs)
            for position in sampled:
                kinds[position] = TracedAttempt
            attempts = [kind(runtime, job) for kind, job in zip(kinds, jobs, strict=True)]
        else:
            attempts = [Attempt(runtime, job) for job in jobs]
        self.running.update({attempt.held: attempt for attempt in attempts})
        if meter is not None:
            meter.started(jobs)
        self.deadlines.watch()
        return attempts

    def put_back(self, job: EngineJob) -> None:
        """Return a job that does not begin here to the front of the queue, untouched."""
        job.attempts -= 1
        job.status, job.started, job.worker_id = Status.QUEUED, 0, None
        self._outcomes.add(Outcome.postpone(self.core, job, 0), job)

    async def _wait_for_a_slot(self) -> None:
        if self.worker.burst and self._spent() and not self._busy():
            self._end_burst()
        elif self.suspects.quarantine.active:
            # Other workers of this process make room too.
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_FOR_ROOM):
                    await self._freed.wait()
        else:
            await self._freed.wait()

    def _tell_pause(self, paused: bool) -> None:
        if paused != self._paused:
            self._paused = paused
            logger.info("queue %s: %s", self.queue.name, "paused, taking no jobs" if paused else "resumed")

    async def _rest(self, leased: Leased, waited: float) -> float:
        """Do what precedes the next lease; returns the seconds that the lease waits for a job."""
        if leased.shared:
            # Longer than an idle worker takes to ask for the rest.
            await asyncio.sleep(SHARED)
        elif leased.more or self._stopping.is_set():
            pass
        elif self.worker.burst:
            return await self._rest_in_burst(leased, waited)
        elif leased.paused:
            await self._waiting.resumption()
        else:
            for _ in range(BRIEF if leased.jobs else 0):
                await asyncio.sleep(0)
            return self.core.timings.peek
        return 0.0

    async def _rest_in_burst(self, leased: Leased, waited: float) -> float:
        patience = min(self.worker.dequeue_timeout, self.core.timings.peek)
        if self._busy():
            with suppress(TimeoutError):
                async with asyncio.timeout(max(patience, BURST_LOOK)):
                    await self._freed.wait()
        elif leased.paused or waited or patience <= 0:
            self._end_burst()
        else:
            return patience
        return 0.0

    def _end_burst(self) -> None:
        self._stopping.set()
        self.worker.event.set()

    def _written(self, jobs: Sequence[Held]) -> None:
        self.keeper.release(jobs)
        self._freed.set()

    async def _rest_until_resumed(self) -> None:
        self._resting.takes_none = True
        if self.worker.burst and not self._busy():
            self._end_burst()
        else:
            await self._freed.wait()

    def _lost_in_thread(self, held: Held) -> None:
        self.loop.call_soon_threadsafe(self._lost, held)

    def _lost(self, held: Held) -> None:
        """Another worker has the job: stop it here and discard its outcome."""
        if (attempt := self.running.get(held)) is not None:
            attempt.lose()
        self._ready = deque(job for job in self._ready if (job.key, job.lease) != held)
