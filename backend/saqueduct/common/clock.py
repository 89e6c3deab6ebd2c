"""The queue's clock: all time calculations of the queue use it, so that tests can travel in time (`testing.py`)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

_offset = 0.0


def time_now() -> float:
    """Epoch seconds by the queue's clock."""
    return time.time() + _offset


def offset() -> float:
    """Seconds by which the queue's clock is ahead of the machine's; scripts add them to the time of Redis."""
    return _offset


@contextmanager
def shifted(seconds: float) -> Iterator[None]:
    """Move the queue's clock of this process ahead for the duration of a block; nested blocks add up."""
    global _offset
    _offset += seconds
    try:
        yield
    finally:
        _offset -= seconds
