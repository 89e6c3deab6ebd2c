"""Heartbeat: what a worker's renewal thread reports to Redis; `StateReader` reads it.

The thread keeps reporting while a job blocks the event loop.
"""

import time
from collections import Counter
from collections.abc import Collection

import msgspec
import redis

from saqueduct.broker.scripts import source
from saqueduct.queue.core import QueueCore
from saqueduct.queue.worker_health import WorkerState
from saqueduct.worker.attempt import Attempt
from saqueduct.worker.leasing import Leasing
from saqueduct.worker.loop_monitor import Pulse

BLOCKED = 1.0
"""Seconds without an answer of the event loop that are reported."""

TASKS = 5
"""Tasks that a report names at most."""


class Heartbeat:
    """Reports on one worker; `beat` is for the renewal thread.

    Args:
        core: of the queue.
        worker_id: the worker's.
        concurrency: its slots.
        leasing: its calls for jobs.
        pulse: of its event loop.
        running: its jobs.
        given_up: its attempts that ignore their cancellation.
    """

    def __init__(
        self,
        core: QueueCore,
        worker_id: str,
        concurrency: int,
        leasing: Leasing,
        pulse: Pulse,
        running: Collection[object],
        given_up: Collection[Attempt],
    ) -> None:
        self._core = core
        self._worker_id = worker_id
        self._concurrency = concurrency
        self._leasing = leasing
        self._pulse = pulse
        self._running = running
        self._given_up = given_up

    def beat(self, client: redis.Redis) -> None:
        """Report to Redis.

        Raises:
            RedisError: Redis is away.
        """
        state = self._look()
        scripts = self._core.scripts
        script = client.register_script(source("beat"))
        script(keys=scripts.keys, args=[*scripts.common(), self._worker_id, msgspec.json.encode(state)])

    def _look(self) -> WorkerState:
        leased = round(time.monotonic() - self._leasing.answered_at, 1)
        state = WorkerState(leased, self._concurrency - len(self._running), slots=self._concurrency)
        if self._core.recorder is not None:
            state.records = self._core.recorder.problem
        if given_up := list(self._given_up):
            state.given_up = len(given_up)
            tasks = Counter(attempt.job.function for attempt in given_up)
            state.given_up_tasks = ", ".join(f"{count} of {task}" for task, count in tasks.most_common(TASKS))
        block, blocked = self._pulse.block, self._pulse.blocked_for()
        if blocked > BLOCKED:
            state.blocked = round(blocked, 1)
            state.blocker = block.who if block is not None else ""
        return state
