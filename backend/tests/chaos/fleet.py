"""The worker processes of a chaos run, and what is done to them."""

import itertools
import os
import random
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.processes.stack import Process

MODULE = ("-m", "tests.chaos.worker")
CLOCKS = ("-30s", "+0s", "+30s")
"""Clocks of the workers in turn, if libfaketime is there."""


def libfaketime() -> Path | None:
    """The library that lets a process with threads see another clock, where Debian's package puts it."""
    return next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


class Fleet:
    """Some workers that are always replaced.

    Args:
        size: how many.
        environment: of each.
        directory: for their logs.
        chance: decides which worker is hit.
    """

    def __init__(self, size: int, environment: Mapping[str, str], directory: Path, chance: random.Random) -> None:
        self._environment = environment
        self._directory = directory
        self._chance = chance
        self._numbers = itertools.count()
        self.killed: list[tuple[int, float]] = []
        """Process and time (monotonic seconds) of each kill and each stop past the lease."""
        self.skewed = libfaketime() is not None
        self.workers = [self._start() for _ in range(size)]

    def wait(self) -> None:
        """Until all have started."""
        for worker in self.workers:
            worker.prints("worker started")

    def kill(self) -> None:
        """SIGKILL one, and start another in its place."""
        index = self._chance.randrange(len(self.workers))
        pid = self.workers[index].popen.pid
        self.killed.append((pid, time.monotonic()))
        self.workers[index].stop(signal.SIGKILL)
        self.workers[index] = self._start()
        self.wait()

    def terminate(self) -> None:
        """SIGTERM one, and start another in its place."""
        index = self._chance.randrange(len(self.workers))
        self.workers[index].stop(signal.SIGTERM)
        self.workers[index] = self._start()
        self.wait()

    def pause(self, seconds: float) -> None:
        """SIGSTOP one, and SIGCONT it after so many seconds."""
        pid = self._chance.choice(self.workers).popen.pid
        self.killed.append((pid, time.monotonic()))
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """End all."""
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.killpg(worker.popen.pid, signal.SIGKILL)
            worker.popen.wait()

    def _start(self) -> Process:
        number = next(self._numbers)
        environment = {**self._environment}
        if library := libfaketime():
            clock = CLOCKS[number % len(CLOCKS)]
            environment |= {"LD_PRELOAD": str(library), "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        return Process(MODULE, environment, self._directory / f"worker-{number}.log")
