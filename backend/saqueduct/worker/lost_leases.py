"""Lost leases: what Redis leased to this worker, and the worker never heard of.

A connection may break after Redis has carried out a lease and before its answer has come. Nothing of it has begun, and
nothing of it ever will. Each call for leases is sent once and has a number, which its leases carry: the leases of one
that failed are looked for, and given back.
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
        kept: seconds for which the leases of a call are looked for after the first look.
    """

    def __init__(self, worker_id: str, kept: float) -> None:
        self._kept = kept
        self._worker_id = worker_id
        # Not from 1 on: an earlier process may have had the same id.
        self._last = secrets.randbelow(10**9) * 1000
        self._width = max(1, LEASE_TEXT - TIME_TEXT - len(str(worker_id).encode()))
        self._lost: dict[int, float | None] = {}
        """By call, when its leases were looked for first."""
        self._changing = threading.Lock()

    def call(self) -> int:
        """The number of the next call."""
        self._last += 1
        return self._last

    def lose(self, call: int) -> None:
        """A call has failed: whatever it leased, nobody knows of it."""
        with self._changing:
            self._lost[call] = None
            while len(self._lost) > MOST:
                del self._lost[next(iter(self._lost))]

    def prefixes(self) -> list[str]:
        """How the leases of these calls begin; their time follows."""
        with self._changing:
            return [f"{self._worker_id}|{call:0{self._width}d}" for call in self._lost]

    def looked_for(self) -> None:
        """They were looked for, and those that were found were given back."""
        current = time.monotonic()
        with self._changing:
            looked = {call: current if first is None else first for call, first in self._lost.items()}
            self._lost = {call: first for call, first in looked.items() if current - first < self._kept}
