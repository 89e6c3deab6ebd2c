"""Resting: a live worker takes no jobs because somebody has asked it so; see `saqueduct.queue.workers`."""

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger("saqueduct.worker")


class Resting:
    """Whether a worker of one queue rests.

    Args:
        queue: the queue's name, for the log.
        loop: the event loop of the worker.
        interrupt: ends a call that waits for a job.
        changed: called when the worker is to rest, or to take jobs again.

    Attributes:
        asked: True from when the worker is to rest.
        takes_none: True when it does, and no lease is on its way.
    """

    def __init__(
        self,
        queue: str,
        loop: asyncio.AbstractEventLoop,
        interrupt: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._loop = loop
        self._interrupt = interrupt
        self._changed = changed
        self.asked = False
        self.takes_none = False

    def ask_in_thread(self, rest: bool) -> bool:
        """Ask the worker to rest, or to take jobs, from another thread; returns True when it takes none."""
        if rest != self.asked:
            self._loop.call_soon_threadsafe(self._ask, rest)
        return self.takes_none

    def _ask(self, rest: bool) -> None:
        if rest == self.asked:
            return
        self.asked = rest
        logger.info("queue %s: this worker %s", self._queue, "takes no jobs" if rest else "takes jobs again")
        if rest:
            self._interrupt()
        else:
            self.takes_none = False
        self._changed()
