"""Unrecorded ends: jobs that have ended, until PostgreSQL has recorded it.

If a job failed, was aborted, or already has a record, the step that writes its end to Redis also keeps the end there.
It is removed when PostgreSQL has it: even if a process dies in between, any worker can write it. The same applies to a
durable job that ended while PostgreSQL was down. Other jobs that complete at their first attempt are not kept: a
missing record of such a job misleads no one.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

from saq import Job

from saqueduct.broker.keys import UNRECORDED
from saqueduct.queue.core import QueueCore
from saqueduct.tasks.job import mark_of

ENDS_AT_ONCE = 200
"""Approximate number of ends that one command reads or removes."""


class Unrecorded(NamedTuple):
    """A kept end, and for how many seconds it has been kept."""

    mark: str
    age: float
    stored: bytes

    @property
    def key(self) -> str:
        """Key of the job."""
        return self.mark.rsplit("|", 2)[0]


class EndsPage(NamedTuple):
    """Some ends, and how many were too recent; the cursor is 0 on the last page."""

    cursor: int
    young: int
    ends: list[Unrecorded]


class UnrecordedJobs:
    """The ends that Redis keeps for the jobs of one queue.

    Args:
        core: of the queue.
    """

    def __init__(self, core: QueueCore) -> None:
        self._core = core
        self._hash = core.namespace(UNRECORDED)

    async def count(self) -> int:
        """Number of kept ends."""
        return int(await self._core.redis.hlen(self._hash))

    async def kept(self, job: Job) -> bool:
        """True while the end of this job is kept."""
        return bool(await self._core.redis.hexists(self._hash, mark_of(job)))

    async def page(self, cursor: int, age: float) -> EndsPage:
        """Ends that have been kept for `age` seconds or longer, after a cursor, which starts at 0."""
        answer = cast("list[bytes]", await self._core.scripts.run("unrecorded", cursor, age, ENDS_AT_ONCE))
        parts = zip(answer[2::3], answer[3::3], answer[4::3], strict=True)
        ends = [Unrecorded(mark.decode(), float(seconds), stored) for mark, seconds, stored in parts]
        return EndsPage(int(answer[0]), int(answer[1]), ends)

    async def forget(self, marks: Sequence[str]) -> None:
        """Remove these ends: PostgreSQL has recorded them."""
        for first in range(0, len(marks), ENDS_AT_ONCE):
            await self._core.redis.hdel(self._hash, *marks[first : first + ENDS_AT_ONCE])
