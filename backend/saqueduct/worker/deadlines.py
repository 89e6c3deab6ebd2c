"""Deadlines: cancels the running jobs of a worker that run too long, are silent, or must be aborted.

A job that ignores its cancellation is given up."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from saq.job import Status

from saqueduct.broker.outage import REDIS_AWAY
from saqueduct.queue.core import QueueCore
from saqueduct.tasks.job import Held, UnreadableJob
from saqueduct.worker.attempt import Attempt
from saqueduct.worker.loop_monitor import Pulse

logger = logging.getLogger("saqueduct.worker")


class Deadlines:
    """Looks after the running jobs of one worker.

    Args:
        core: of the queue.
        pulse: whose clock says how long they run.
        running: these jobs, by key and lease; changes as they begin and end.
    """

    def __init__(self, core: QueueCore, pulse: Pulse, running: Mapping[Held, Attempt]) -> None:
        self._core = core
        self._pulse = pulse
        self._running = running
        self._loop = asyncio.get_running_loop()
        self._watched = False
        """True while a timer looks for jobs that run too long."""

    def watch(self) -> None:
        """Cancel what runs longer than its timeout, as long as anything runs; one timer is cheaper than one per job."""
        if self._running and not self._watched:
            self._watched = True
            self._loop.call_later(self._core.timings.timeout_check, self._end_late)

    def _end_late(self) -> None:
        current = self._pulse.certainly_fair() or 0.0
        late = [each for each in self._running.values() if each.deadline <= current]
        self._watched = False
        self.watch()
        for attempt in late:
            with self._alone(attempt):
                attempt.overdue()

    def end_silent(self) -> None:
        """Cancel what has not shown a sign of life within its `heartbeat`."""
        if self._pulse.certain() is None:
            return
        for attempt in list(self._running.values()):
            with self._alone(attempt):
                heartbeat = attempt.job.heartbeat
                if heartbeat and attempt.silence() > heartbeat:
                    attempt.time_out(f"no heartbeat within {heartbeat} s")

    async def abort_requested(self, threshold: float) -> None:
        """Cancel jobs for which an abort was requested, here or with stock SAQ.

        Args:
            threshold: seconds that a job must have run to be looked at.
        """
        # One job may run twice while an attempt that lost its lease is still ending.
        long = [attempt for attempt in self._running.values() if attempt.running_for >= threshold]
        if not long:
            return
        ids = [self._core.job_id(attempt.held[0]) for attempt in long]
        async with self._core.redis.pipeline(transaction=False) as pipe:
            pipe.hmget(self._core.namespace("aborting"), ids)
            # A stock producer's abort removes the job from the incomplete ones, and stores the reason in the job.
            pipe.zmscore(self._core.namespace("incomplete"), ids)
            reasons, scores = await pipe.execute()
        for attempt, reason, score in zip(long, reasons, scores, strict=True):
            with self._alone(attempt):
                if reason is not None:
                    attempt.abort(reason.decode())
                elif score is None and attempt.held in self._running:
                    await self._abort_as_stored(attempt)

    async def _abort_as_stored(self, attempt: Attempt) -> None:
        key = attempt.held[0]
        stored = self._core.read(key, await self._core.redis.get(self._core.job_id(key)))
        if stored.status in (Status.ABORTING, Status.ABORTED):
            attempt.abort(stored.error or "aborted")

    @contextmanager
    def _alone(self, attempt: Attempt) -> Iterator[None]:
        """An error in one job must not keep the others from being checked."""
        try:
            yield
        except (UnreadableJob, *REDIS_AWAY) as error:
            logger.debug("could not check the job %s: %s", attempt.held[0], error)
        except Exception:
            logger.exception("could not check the job %s", attempt.held[0])
