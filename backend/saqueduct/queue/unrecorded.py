"""Unrecorded ends: jobs that have ended, as long as PostgreSQL does not know.

The end of a job that failed, was aborted, or has a record already is kept in Redis in the step that writes it there,
and goes when PostgreSQL has it: whatever dies in between, any worker can write it. The same is true of a durable job
that ended while PostgreSQL was away. Another job that completes at its first attempt is not kept: a record that is lost
of it misleads nobody.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

from saq import Job

from saqueduct.broker.keys import UNRECORDED
from saqueduct.queue.core import QueueCore
from saqueduct.tasks.job import mark_of

ENDS_AT_ONCE = 200
"""Ends that one command reads or forgets, about."""


class Unrecorded(NamedTuple):
    """An end that is kept, for so many seconds."""

    mark: str
    age: float
    stored: bytes

    @property
    def key(self) -> str:
        """Of the job."""
        return self.mark.rsplit("|", 2)[0]


class Page(NamedTuple):
    """Some ends, and how many were too young; the cursor is 0 at the last page."""

    cursor: int
    young: int
    ends: list[Unrecorded]


class UnrecordedJobs:
    """The ends that Redis keeps of the jobs of one queue.

    Args:
        core: of the queue.
    """

    def __init__(self, core: QueueCore) -> None:
        self._core = core
        self._hash = core.namespace(UNRECORDED)

    async def count(self) -> int:
        """How many ends are kept."""
        return int(await self._core.redis.hlen(self._hash))

    async def kept(self, job: Job) -> bool:
        """True while the end of this job is kept."""
        return bool(await self._core.redis.hexists(self._hash, mark_of(job)))

    async def page(self, cursor: int, age: float) -> Page:
        """Ends that are kept for `age` seconds or longer, after a cursor, which is 0 at first."""
        answer = cast("list[bytes]", await self._core.scripts.run("unrecorded", cursor, age, ENDS_AT_ONCE))
        parts = zip(answer[2::3], answer[3::3], answer[4::3], strict=True)
        ends = [Unrecorded(mark.decode(), float(seconds), stored) for mark, seconds, stored in parts]
        return Page(int(answer[0]), int(answer[1]), ends)

    async def forget(self, marks: Sequence[str]) -> None:
        """Keep these ends no longer: PostgreSQL has them."""
        for first in range(0, len(marks), ENDS_AT_ONCE):
            await self._core.redis.hdel(self._hash, *marks[first : first + ENDS_AT_ONCE])
