"""The garbage collector, which goes through thousands of new objects again and again while many jobs are made.

Without it a bulk enqueue takes two thirds of the time. It belongs to the whole process: it rests only while nothing
else runs in this thread, never across an `await`, and for a bounded number of objects.
"""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 5000
"""Objects that are made without it at most."""


def listed(items: Iterable[T]) -> list[T]:
    """The items as a list; their iterator makes them while the collector rests, AT_ONCE at a time."""
    found: list[T] = []
    iterator = iter(items)
    while True:
        with no_collection():
            some = list(islice(iterator, AT_ONCE))
        found += some
        if len(some) < AT_ONCE:
            return found


@contextmanager
def no_collection() -> Iterator[None]:
    """Let the collector rest for a block without `await`."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
