"""Which queues `Task.enqueue` uses where one process runs several event loops, each with queues of its own.

`Queues.current` knows one for the whole process; a test with a worker beside it has two.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from app.queue.engine.queues import Queues

_of_loops: dict[asyncio.AbstractEventLoop, Queues] = {}
_of_process = Queues.current


@contextmanager
def current_in_this_loop(queues: Queues) -> Iterator[None]:
    """For the time of a block, what runs in the running event loop enqueues through these queues, nothing else does."""
    # Never taken back: without entries it answers as before, and blocks of several threads end in any order.
    Queues.current = staticmethod(_current)  # type: ignore[method-assign]
    loop = asyncio.get_running_loop()
    before = _of_loops.get(loop)
    _of_loops[loop] = queues
    try:
        yield
    finally:
        if before is None:
            del _of_loops[loop]
        else:
            _of_loops[loop] = before


def _current() -> Queues:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _of_process()
    return _of_loops.get(loop) or _of_process()
