"""Unrecorded ends: jobs that have ended, as long as PostgreSQL does not know.

The end of a job that failed, was aborted, or has a record already is kept in Redis in the step that writes it there,
and goes when PostgreSQL has it: whatever dies in between, any worker can write it. The same is true of a durable job
that ended while PostgreSQL was away. Another job that completes at its first attempt is not kept: a record that is lost
of it misleads nobody.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from saq import Job
from saq.job import Status

from saqueduct.broker.keys import UNRECORDED
from saqueduct.tasks.job import mark_of

if TYPE_CHECKING:
    from saqueduct.queue.saq_queue import LeasedQueue

CHUNK = 200
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


def mark_to_keep(queue: "LeasedQueue", job: Job) -> str:
    """The mark under which the end of a job is kept until PostgreSQL has it; empty: it need not know, or knows."""
    if queue.recorder is None or (not job.meta and job.attempts <= 1 and job.status == Status.COMPLETE):
        return ""
    return mark_of(job) if queue.recorder.needs(job) else ""


async def count(queue: "LeasedQueue") -> int:
    """How many ends are kept."""
    return int(await queue.redis.hlen(queue.namespace(UNRECORDED)))


async def kept(queue: "LeasedQueue", job: Job) -> bool:
    """True while the end of this job is kept."""
    return bool(await queue.redis.hexists(queue.namespace(UNRECORDED), mark_of(job)))


async def page(queue: "LeasedQueue", cursor: int, age: float) -> Page:
    """Ends that are kept for `age` seconds or longer; those beside them are told by the cursor, 0 at first."""
    answer = cast("list[bytes]", await queue.scripts.run("unrecorded", cursor, age, CHUNK))
    parts = zip(answer[2::3], answer[3::3], answer[4::3], strict=True)
    ends = [Unrecorded(mark.decode(), float(seconds), stored) for mark, seconds, stored in parts]
    return Page(int(answer[0]), int(answer[1]), ends)


async def forget(queue: "LeasedQueue", marks: Sequence[str]) -> None:
    """Keep these ends no longer: PostgreSQL has them."""
    for first in range(0, len(marks), CHUNK):
        await queue.redis.hdel(queue.namespace(UNRECORDED), *marks[first : first + CHUNK])
