"""Leases: a worker's time-limited claims on jobs, renewed by a thread of their own while the process lives.

The thread has its own connection, so that a job which blocks the event loop does not cost the worker its leases.
What outlives its timeout all the same is given up by the thread, and another worker takes it.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import RedisError

from app.queue.engine.connections import ANSWER_TIMEOUT, blocking_client
from app.queue.engine.job import LATE, UNBEGUN, EngineJob
from app.queue.engine.pulse import Pulse
from app.queue.engine.recovery import LEASE, RENEWAL
from app.queue.engine.scripts import source

if TYPE_CHECKING:
    from app.queue.engine.leased import LeasedQueue

logger = logging.getLogger("app.worker")

CHUNK = 1000
"""Leases renewed by one script call."""

TIMEOUT_GRACE = 5.0
"""Seconds past its timeout in which a job may still end by itself, before its lease is given up."""

BEGINNING = 10.0
"""Seconds in which a job that was leased must begin: other jobs may block the event loop, while other workers wait."""


Held = tuple[str, str]
"""What a worker holds: the key of a job, and its lease."""

Hold = tuple[float, str]
"""Until when a lease is renewed, by the clock of `LeaseKeeper.awake`, and how it is marked when it is given up."""

ENDED: Hold = (math.inf, "")
GIVEN_BACK: Hold = (-math.inf, UNBEGUN)

REASONS = {
    LATE: "it outlived its timeout and cannot be cancelled",
    UNBEGUN: "something blocks the event loop, and it has not begun",
}


class LeaseKeeper:
    """Renews the leases that a worker holds.

    Args:
        queue: the queue.
        lost: called, from the thread, with each lease that another worker has taken, or that was given up.
        beat: called, from the thread, at each renewal, with the thread's client.
    """

    def __init__(self, queue: "LeasedQueue", lost: Callable[[Held], None], beat: Callable[[redis.Redis], None]) -> None:
        self._queue = queue
        self._lost = lost
        self._beat = beat
        self._held: dict[Held, Hold] = {}
        self._pulse = Pulse(f"pulse-{queue.name}")
        self._deciding = threading.Lock()
        """Held while it is decided whether a job is given back, which may begin at the same time."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"leases-{queue.name}", daemon=True)
        self._redis = blocking_client(queue.redis)

    def start(self) -> None:
        """Begin to renew."""
        self._pulse.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop to renew; what is still held runs out."""
        self._stop.set()
        self._pulse.stop()
        self._thread.join(ANSWER_TIMEOUT)
        self._redis.close()

    def hold(self, jobs: Iterable[EngineJob]) -> None:
        """Renew the leases of jobs from now on; each is given back unless it begins within BEGINNING."""
        hold = (self.awake() + BEGINNING, UNBEGUN)
        self._held.update({(job.key, job.lease): hold for job in jobs})

    def begin(self, held: Held, timeout: float | None) -> float | None:
        """A job begins to run: its lease is renewed until its timeout and TIMEOUT_GRACE are over.

        Args:
            held: the job.
            timeout: seconds that it may run; None or 0: as long as it likes.

        Returns:
            The end of its timeout by the clock of `awake`, or None: it must not begin, its lease was given back.
        """
        timeout_ends = self._pulse.awake() + timeout if timeout else math.inf
        with self._deciding:
            if self._held.get(held, GIVEN_BACK) is GIVEN_BACK:
                return None
            self._held[held] = (timeout_ends + TIMEOUT_GRACE, LATE)
        return timeout_ends

    def ended(self, held: Held) -> None:
        """The job runs no more: its lease is renewed until `release`, however long its outcome waits to be written."""
        # Should it be decided in this moment that it is late, `scripts/settle.lua` takes its outcome all the same.
        if held in self._held:
            self._held[held] = ENDED

    def release(self, jobs: Iterable[Held]) -> None:
        """Renew their leases no longer."""
        for held in jobs:
            self._held.pop(held, None)

    def awake(self) -> float:
        """See `Pulse.awake`."""
        return self._pulse.awake()

    def certain(self) -> float | None:
        """See `Pulse.certain`."""
        return self._pulse.certain()

    def _run(self) -> None:
        script = self._redis.register_script(source("renew"))
        while not self._stop.wait(RENEWAL):
            held = list(self._held)
            with suppress(RedisError, OSError):
                self._beat(self._redis)
            for first in range(0, len(held), CHUNK):
                try:
                    self._renew(script, held[first : first + CHUNK])
                except (RedisError, OSError) as error:
                    logger.warning("queue %s: leases could not be renewed: %s", self._queue.name, error)
                    break

    def _renew(self, script: Any, held: list[Held]) -> None:
        # Nothing is given up while it is not known how late it is.
        current = self.certain() or 0.0
        with self._deciding:
            marks = {each: hold[1] for each in held if (hold := self._held.get(each, ENDED))[0] <= current}
            self._held.update(dict.fromkeys((each for each in marks if marks[each] == UNBEGUN), GIVEN_BACK))
        args: list[Any] = [*self._queue.scripts.common(), LEASE]
        for key, lease in held:
            args += [key, lease, marks.get((key, lease), "")]
        answers = script(keys=self._queue.scripts.keys, args=args)
        for each, answer in zip(held, answers, strict=True):
            if mark := marks.get(each):
                logger.error("the lease of the job %s is given up: %s", each[0], REASONS[mark])
            # What has ended meanwhile is not held any more, and not lost.
            if (not answer or mark) and self._held.pop(each, None) is not None:
                self._lost(each)
