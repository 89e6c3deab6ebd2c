"""Limits for one call, so that no call blocks Redis for long or is larger than Redis accepts."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TypeVar

from saq import Job

from saqueduct.errors import JobTooLarge
from saqueduct.sizes import LARGEST_JOB, MIB

T = TypeVar("T")

BATCH_BYTES = 4 * MIB
"""Bytes of jobs in one call: a few milliseconds of server time. A larger job is sent alone."""

MOST_BATCH_BYTES = 64 * MIB
"""Largest value of `batch_bytes`."""

LARGEST_COMMAND = 2 * LARGEST_JOB + MOST_BATCH_BYTES
"""Maximum bytes of a command: two jobs, if one replaces another. Redis closes the connection at an argument of 512 MiB
(`proto-max-bulk-len`), which would look like an outage."""


LONGEST_CHARACTER = 4
"""Maximum bytes of a character in UTF-8."""


def check_size(job: Job, stored: str | bytes, most: int) -> None:
    """Check that a job has at most so many bytes.

    Raises:
        JobTooLarge: it has more.
    """
    size = len(stored.encode() if isinstance(stored, str) else stored)
    if size > most:
        raise JobTooLarge(job.function, size, most)


def fitting(
    items: Sequence[T], count: int, sizes: Callable[[Sequence[T]], list[int]], most_bytes: int = BATCH_BYTES
) -> int:
    """How many of the first items fit into one call: at most `count`, with at most `most_bytes`; always at least one.

    Args:
        items: the items in order, at least one.
        count: maximum number of items.
        sizes: returns the bytes of each item, or its characters, most of which are one byte.
        most_bytes: maximum bytes of all items.
    """
    found = sizes(items[:count])
    return len(found) if sum(found) <= most_bytes else max(1, bisect_right(list(accumulate(found)), most_bytes))


def batches(
    items: Sequence[T], count: int, sizes: Callable[[Sequence[T]], list[int]], most_bytes: int = BATCH_BYTES
) -> list[Sequence[T]]:
    """All items in order, divided into calls by `fitting`."""
    parts: list[Sequence[T]] = []
    first = 0
    while first < len(items):
        last = first + fitting(items[first : first + count], count, sizes, most_bytes)
        parts.append(items[first:last])
        first = last
    return parts
