"""Sizes: how much goes to Redis at once, so that no call blocks it for long, and none is more than it takes."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TypeVar

from saq import Job

from saqueduct.errors import JobTooLarge

T = TypeVar("T")

MIB = 1024 * 1024

BATCH_BYTES = 4 * MIB
"""Bytes of jobs that one call brings: a few milliseconds of the server's time. A larger job goes by itself."""

LARGEST_JOB = 160 * MIB
"""Bytes of a job, all in all: arguments and result have 64 MiB at most each (`MAX_PAYLOAD_CEILING`)."""

MOST_BATCH_BYTES = 64 * MIB
"""Largest value of `batch_bytes`."""

LARGEST_COMMAND = 2 * LARGEST_JOB + MOST_BATCH_BYTES
"""Bytes of a command: two jobs, where one replaces another. Redis closes the connection at an argument of 512 MiB
(`proto-max-bulk-len`), which would look like an outage."""


LONGEST_CHARACTER = 4
"""Bytes of a character as UTF-8, at most."""

CERTAINLY_FITS = LARGEST_JOB // LONGEST_CHARACTER
"""Characters up to which a job needs no look at its bytes."""


def check_size(job: Job, stored: str | bytes) -> None:
    """See that Redis takes a job.

    Raises:
        JobTooLarge: it does not.
    """
    size = len(stored.encode() if isinstance(stored, str) else stored)
    if size > LARGEST_JOB:
        raise JobTooLarge(job.function, size, LARGEST_JOB)


def fitting(
    items: Sequence[T], count: int, sizes: Callable[[Sequence[T]], list[int]], most_bytes: int = BATCH_BYTES
) -> int:
    """How many of the first items make one call: `count` at most, of `most_bytes` at most; one in any case.

    Args:
        items: in order, at least one.
        count: the most.
        sizes: tells the bytes of each, or the characters, most of which are a byte.
        most_bytes: of all of them.
    """
    found = sizes(items[:count])
    return len(found) if sum(found) <= most_bytes else max(1, bisect_right(list(accumulate(found)), most_bytes))


def batches(
    items: Sequence[T], count: int, sizes: Callable[[Sequence[T]], list[int]], most_bytes: int = BATCH_BYTES
) -> list[Sequence[T]]:
    """All items in order, in calls as `fitting` says."""
    parts: list[Sequence[T]] = []
    first = 0
    while first < len(items):
        last = first + fitting(items[first : first + count], count, sizes, most_bytes)
        parts.append(items[first:last])
        first = last
    return parts
