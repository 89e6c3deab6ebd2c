"""Heartbeat: what a worker's renewal thread reports to Redis; `StateReader` reads it.

The thread keeps reporting while a job blocks the event loop.
"""

import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Collection

import msgspec
import redis

from saqueduct.broker.scripts import source
from saqueduct.queue.core import QueueCore
from saqueduct.queue.worker_health import WorkerState
from saqueduct.worker.attempt import Attempt
from saqueduct.worker.leasing import Leasing
from saqueduct.worker.loop_monitor import Pulse
from saqueduct.worker.process_use import ProcessUse

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
        version: of the application's code.
        paused: called, from the thread, with whether the worker should take no jobs; returns whether it takes none.
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
        version: str,
        paused: Callable[[bool], bool],
    ) -> None:
        self._core = core
        self._worker_id = worker_id
        self._concurrency = concurrency
        self._leasing = leasing
        self._pulse = pulse
        self._running = running
        self._given_up = given_up
        self._version = version
        self._paused = paused
        self._is_paused = False
        self._host = platform.node()
        self._use = ProcessUse()

    def beat(self, client: redis.Redis) -> None:
        """Report to Redis.

        Raises:
            RedisError: Redis is away.
        """
        state = self._look()
        scripts = self._core.scripts
        script = client.register_script(source("beat"))
        note = script(keys=scripts.keys("beat"), args=[*scripts.common(), self._worker_id, msgspec.json.encode(state)])
        self._is_paused = self._paused(note is not None)

    def _look(self) -> WorkerState:
        leased = round(time.monotonic() - self._leasing.answered_at, 1)
        state = WorkerState(
            leased,
            self._concurrency - len(self._running),
            slots=self._concurrency,
            paused=self._is_paused,
            host=self._host,
            pid=os.getpid(),
            version=self._version,
            memory=self._use.memory(),
            cpu=round(self._use.cpu(), 3),
            lag=round(self._pulse.lag(), 3),
        )
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
