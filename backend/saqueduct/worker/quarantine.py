"""Quarantine: how many jobs may share a process with one whose workers died.

A process that dies takes all its jobs with it, and nothing shows which of them was the cause. A job that was recovered
once runs with others as before: most deaths are no job's fault. After two deaths it shares its process with few others,
after `max_recoveries` with none, which is noted in its lease; only then is the job itself blamed for the death of its
worker. So the cause is soon isolated, and the others end in between. Jobs that were not recovered cost nothing here.
"""

import asyncio
import math
import sys
from collections.abc import Callable

from saqueduct.queue.core import MAX_RECOVERIES

SUSPECT = 2
"""Recoveries after which a job shares its process with few others."""


def company(recoveries: int, slots: int, max_recoveries: int = MAX_RECOVERIES) -> int:
    """Concurrent jobs in the process of one that was recovered so often, including itself.

    The square root of the slots: the jobs of a process that died are tried in so many groups, then those of one group.
    """
    return 1 if recoveries >= max_recoveries else math.isqrt(slots)


class Quarantine:
    """Of the workers of one event loop, which is the process as far as jobs are concerned."""

    def __init__(self) -> None:
        self.members: list[Callable[[], int]] = []
        """Of each worker: how many jobs it has."""
        self._limits: dict[object, int] = {}
        """Most concurrent jobs in the process, by the attempt or worker that asks for this limit."""

    @property
    def active(self) -> bool:
        """True while some job limits the jobs that run with it, or waits to start under such a limit."""
        return bool(self._limits)

    def room(self, apart_from: object = None) -> int:
        """Jobs that may still start under all limits except the one of this attempt or worker."""
        limits = [limit for who, limit in self._limits.items() if who is not apart_from]
        return max(0, min(limits, default=sys.maxsize) - self._taken())

    def fits(self, limit: int) -> bool:
        """True when a job that allows at most so many concurrent jobs may start."""
        return self._taken() < min([limit, *self._limits.values()])

    def limit(self, who: object, limit: int) -> None:
        """Limit the concurrent jobs until `lift`."""
        self._limits[who] = limit

    def lift(self, who: object) -> None:
        """Remove this limit."""
        self._limits.pop(who, None)

    def limited_by(self, who: object) -> bool:
        """True between `limit` and `lift`."""
        return who in self._limits

    def _taken(self) -> int:
        return sum(taken() for taken in self.members)


_quarantines: dict[asyncio.AbstractEventLoop, Quarantine] = {}


def join(taken: Callable[[], int]) -> Quarantine:
    """The quarantine of the running event loop, for one more worker, until `leave`."""
    found = _quarantines.setdefault(asyncio.get_running_loop(), Quarantine())
    found.members.append(taken)
    return found


def leave(taken: Callable[[], int]) -> None:
    """A worker has ended."""
    loop = asyncio.get_running_loop()
    _quarantines[loop].members.remove(taken)
    if not _quarantines[loop].members:
        del _quarantines[loop]
