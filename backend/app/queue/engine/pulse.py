"""Pulse: tells for how long the process was suspended, by a thread that does nothing else.

A machine that sleeps, or a SIGSTOP, must take none of a job's time. A thread that also waits for Redis could not tell
one from the other.
"""

import math
import threading
import time

NAP = 0.2
"""Seconds that the thread sleeps at a time: as exactly it knows for how long the process was suspended."""

SUSPENSION = 1.0
"""Seconds by which the thread wakes too late when the whole process was suspended, rather than short of time."""


class Pulse:
    """The clock of one worker.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._suspended = 0.0
        self._due = math.inf
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to feel it."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()

    def awake(self) -> float:
        """Seconds of the monotonic clock, without those for which the process was suspended."""
        return time.monotonic() - self._suspended

    def certain(self) -> float | None:
        """As `awake`; None while that may be wrong: the process was suspended, and the thread has not woken since."""
        suspended = self._suspended
        current = time.monotonic()
        if current > self._due + SUSPENSION or self._suspended != suspended:
            return None
        return current - suspended

    def _run(self) -> None:
        while not self._stop.is_set():
            due = self._due = time.monotonic() + NAP
            self._stop.wait(NAP)
            if (late := time.monotonic() - due) > SUSPENSION:
                self._suspended += late
