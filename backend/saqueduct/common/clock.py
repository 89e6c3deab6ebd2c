"""The queue's clock: whatever the queue reckons with time asks here, so that tests can travel (see `testing.py`)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

_offset = 0.0


def time_now() -> float:
    """Epoch seconds, as the queue sees them."""
    return time.time() + _offset


def offset() -> float:
    """Seconds that the queue's clock is ahead of the machine's; scripts add it to the time of Redis."""
    return _offset


@contextmanager
def shifted(seconds: float) -> Iterator[None]:
    """Move the queue's clock of this process ahead for the time of a block; blocks add up."""
    global _offset
    _offset += seconds
    try:
        yield
    finally:
        _offset -= seconds
