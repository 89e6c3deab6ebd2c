"""Lost leases: jobs that Redis leased to this worker without the worker learning about it.

A connection may break after Redis has carried out a lease and before its answer has come. None of these jobs has begun,
or will begin here. Each call for leases is sent once and has a number, which its leases carry: the leases of a failed
call are looked up and released.
"""

import secrets
import threading
import time

from saqueduct.tasks.job import LEASE_TEXT, TIME_TEXT

MOST = 1000
"""Calls that are kept at most; the oldest are forgotten first."""


class LostLeases:
    """The calls for leases of one worker, and those of them whose answers were lost.

    Args:
        worker_id: who leases.
        kept: seconds for which the leases of a call are looked up, counted from the first lookup.
    """

    def __init__(self, worker_id: str, kept: float) -> None:
        self._kept = kept
        self._worker_id = worker_id
        # Not from 1 on: an earlier process may have had the same id.
        self._last = secrets.randbelow(10**9) * 1000
        self._width = max(1, LEASE_TEXT - TIME_TEXT - len(str(worker_id).encode()))
        self._lost: dict[int, float | None] = {}
        """By call, when its leases were first looked up."""
        self._changing = threading.Lock()

    def call(self) -> int:
        """The number of the next call."""
        self._last += 1
        return self._last

    def lose(self, call: int) -> None:
        """A call has failed: no worker knows which jobs it leased."""
        with self._changing:
            self._lost[call] = None
            while len(self._lost) > MOST:
                del self._lost[next(iter(self._lost))]

    def prefixes(self) -> list[str]:
        """Prefix of the leases of these calls; the time follows."""
        with self._changing:
            return [f"{self._worker_id}|{call:0{self._width}d}" for call in self._lost]

    def looked_for(self) -> None:
        """They were looked up, and those that were found were released."""
        current = time.monotonic()
        with self._changing:
            looked = {call: current if first is None else first for call, first in self._lost.items()}
            self._lost = {call: first for call, first in looked.items() if current - first < self._kept}
