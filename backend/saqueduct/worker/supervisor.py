"""Keeps several worker processes running: starts them, restarts those that die, passes signals on."""

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

logger = logging.getLogger("saqueduct.worker.supervisor")

MIN_LIFETIME = 5.0
"""Seconds; after a process that dies sooner its successor waits, so that a crash at start does not cause a busy
loop."""

MAX_PAUSE = 30.0
"""Seconds between two starts of a process that keeps dying, at most."""

KILL_MARGIN = 10.0
"""Seconds beyond the grace period after which a process that still runs is killed."""


class Child:
    """One supervised process.

    Args:
        command: program and arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._pause = 0.0
        self._start_at = 0.0
        self._started = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def start_if_due(self) -> None:
        """Start the process unless it runs or its pause is not over."""
        if self.process is None and time.monotonic() >= self._start_at:
            self._started = time.monotonic()
            self.process = subprocess.Popen(self._command)

    def reap(self) -> int | None:
        """The exit status when the process has ended since the last call, else None."""
        if self.process is None or (status := self.process.poll()) is None:
            return None
        self.process = None
        lived = time.monotonic() - self._started
        self._pause = 0.0 if lived >= MIN_LIFETIME else min(MAX_PAUSE, max(0.5, self._pause * 2))
        self._start_at = time.monotonic() + self._pause
        return status


def supervise(processes: int, grace_period: float, fatal: int, command: Sequence[str]) -> int:
    """Keep `processes` children running until SIGTERM or SIGINT; then stop them and return 0.

    Args:
        processes: how many.
        grace_period: seconds that a child gets to stop by itself.
        fatal: exit status of a child that must not be started again; it stops all and is returned.
        command: what a child runs.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    children = [Child(command) for _ in range(processes)]
    status = 0
    while not stopping.is_set():
        for child in children:
            ended = child.reap()
            if ended == fatal:
                status = fatal
                stopping.set()
            elif ended is not None:
                logger.error("a worker process ended with status %s and is started again", ended)
            if not stopping.is_set():
                child.start_if_due()
        stopping.wait(0.2)
    _stop(children, grace_period)
    return status


def _stop(children: Sequence[Child], grace_period: float) -> None:
    running = [child.process for child in children if child.process is not None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + grace_period + KILL_MARGIN
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.error("the worker process %s does not stop and is killed", process.pid)
            process.kill()
            process.wait()
