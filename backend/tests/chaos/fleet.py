"""The worker processes of a chaos run, and what is done to them."""

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.chaos.tasks import VERSION
from tests.processes.stack import Process

MODULE = ("-m", "tests.chaos.worker")
CLOCKS = ("-30s", "+0s", "+30s")
"""Clocks of the workers in turn, if libfaketime is there."""

STARTED = "worker started"
START_SECONDS = 30.0
"""How long a start may take; while a server is away it takes until that is back."""

STOP_SECONDS = 30.0
"""How long the end after SIGTERM may take: the grace period, the clean-up, and a busy machine."""


def libfaketime() -> Path | None:
    """The library that lets a process with threads see another clock, where Debian's package puts it."""
    return next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


class Harm(NamedTuple):
    """A process that lost its jobs: killed, or stopped past its leases. Times by the monotonic clock."""

    process: int
    begun: float
    ended: float

    @property
    def killed(self) -> bool:
        """True when nothing is left of it."""
        return self.begun == self.ended


class Stop(NamedTuple):
    """A process that was asked to stop, and its exit status. Times by the monotonic clock."""

    process: int
    begun: float
    ended: float
    status: int | None


class Fleet:
    """Some workers that are always replaced. Each method that hurts one returns when that is over; any thread may call.

    Args:
        size: how many.
        environment: of each.
        directory: for their logs.
        chance: decides which worker is hit.
    """

    def __init__(self, size: int, environment: Mapping[str, str], directory: Path, chance: random.Random) -> None:
        self._size = size
        self._environment = environment
        self._directory = directory
        self._chance = chance
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._expected: set[Process] = set()
        """Those that end because somebody here wants it."""
        self.version = 0
        """Newest version of the code that any worker runs."""
        self.harmed: list[Harm] = []
        self.stopped: list[Stop] = []
        self.stops_late: list[str] = []
        """Workers that had not ended STOP_SECONDS after SIGTERM, and were killed."""
        self.deaths: list[str] = []
        """Workers that ended by themselves, with their exit status; they were started again."""
        self.skewed = libfaketime() is not None
        self._versions = [0] * size
        """Of each worker; it is restarted with the same."""
        self.workers = [self._start(place) for place in range(size)]

    def wait(self) -> None:
        """Wait until all have started.

        Raises:
            AssertionError: one has not, within START_SECONDS.
        """
        for worker in self.workers:
            if not _started(worker):
                raise AssertionError(f"a worker has not started:\n{worker.output}")

    def kill(self) -> None:
        """SIGKILL one, and start another in its place."""
        place = self._place()
        self._kill(self.workers[place])
        self._replace(place)

    def terminate(self) -> None:
        """SIGTERM one, and start another in its place."""
        place = self._place()
        self._stop(self.workers[place])
        self._replace(place)

    def pause(self, seconds: float) -> None:
        """SIGSTOP one, and SIGCONT it after so many seconds."""
        pid = self.workers[self._place()].popen.pid
        begun = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)
            self.harmed.append(Harm(pid, begun, time.monotonic()))

    def begin_deploy(self) -> None:
        """Replace one worker by one of the next version; then an old one dies, and starts in its old version."""
        self.version += 1
        self._upgrade(0)
        self._kill(self.workers[1])
        self._replace(1)

    def end_deploy(self) -> None:
        """Replace the others too, one after the other."""
        for place in range(1, self._size):
            self._upgrade(place)

    def revive(self) -> None:
        """Start those again that have ended by themselves, as a supervisor does."""
        with self._lock:
            for place, worker in enumerate(self.workers):
                if (status := worker.popen.poll()) is not None and worker not in self._expected:
                    self.deaths.append(f"process {worker.popen.pid}: exit status {status}")
                    self.workers[place] = self._start(place)

    def stop(self) -> None:
        """SIGTERM all at once, and wait for their end."""
        with self._lock:
            self._expected.update(self.workers)
        for worker in self.workers:
            worker.popen.send_signal(signal.SIGTERM)
        for worker in self.workers:
            self._wait_for_end(worker)

    def start_afresh(self) -> None:
        """Start as many as there were before `stop`."""
        self.workers = [self._start(place) for place in range(self._size)]
        self.wait()

    def close(self) -> None:
        """Kill all."""
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.killpg(worker.popen.pid, signal.SIGKILL)
            worker.popen.wait()

    def _place(self) -> int:
        self.revive()
        return self._chance.randrange(len(self.workers))

    def _upgrade(self, place: int) -> None:
        self._stop(self.workers[place])
        self._versions[place] = self.version
        self._replace(place)

    def _replace(self, place: int) -> None:
        self.workers[place] = self._start(place)
        _started(self.workers[place])

    def _kill(self, worker: Process) -> None:
        self._expect(worker)
        now = time.monotonic()
        self.harmed.append(Harm(worker.popen.pid, now, now))
        worker.stop(signal.SIGKILL)

    def _stop(self, worker: Process) -> None:
        self._expect(worker)
        begun = time.monotonic()
        worker.popen.send_signal(signal.SIGTERM)
        self._wait_for_end(worker)
        self.stopped.append(Stop(worker.popen.pid, begun, time.monotonic(), worker.popen.returncode))

    def _expect(self, worker: Process) -> None:
        with self._lock:
            self._expected.add(worker)

    def _wait_for_end(self, worker: Process) -> None:
        try:
            worker.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.stops_late.append(f"process {worker.popen.pid}")
            self._kill(worker)

    def _start(self, place: int) -> Process:
        number = next(self._numbers)
        environment = {**self._environment, VERSION: str(self._versions[place])}
        if library := libfaketime():
            clock = CLOCKS[number % len(CLOCKS)]
            environment |= {"LD_PRELOAD": str(library), "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        # A library is loaded before all others by a start of Python alone, and by no fork.
        program = sys.executable if self.skewed else None
        return Process(MODULE, environment, self._directory / f"worker-{number}.log", program=program)


def _started(worker: Process) -> bool:
    """Wait for its start, or its end, for START_SECONDS at most: while Redis is away it does not come."""
    deadline = time.monotonic() + START_SECONDS
    while STARTED not in worker.output and worker.popen.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return STARTED in worker.output
