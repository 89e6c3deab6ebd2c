"""Leases: a worker's time-limited claims on jobs, renewed by a thread while the process lives, see `lease_renewal.py`.

The thread has its own connection, so that a job which blocks the event loop does not cost the worker its leases.
The thread gives up a job that outlives its timeout in that way, and another worker takes it. The jobs that cannot
continue meanwhile are offered to other workers, and continue here if none has taken them when the event loop is free
again.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import redis
from redis.exceptions import RedisError

from saqueduct.broker.scripts import source
from saqueduct.queue.core import QueueCore
from saqueduct.tasks.job import HUNG, LATE, STALLED, UNBEGUN, EngineJob, Held
from saqueduct.tasks.job_meta import AT_MOST_ONCE
from saqueduct.worker import lease_renewal
from saqueduct.worker.lease_renewal import RenewalThread
from saqueduct.worker.loop_monitor import Block, Charged, Pulse
from saqueduct.worker.lost_leases import LostLeases

logger = logging.getLogger("saqueduct.worker")

RENEWED_AT_ONCE = 1000
"""Leases renewed by one script call."""


Hold = tuple[float, str]
"""Until when a lease is renewed, and how it is marked when it is given up: UNBEGUN, by `Pulse.awake`, or LATE, by
`Pulse.fair`."""

ENDED: Hold = (math.inf, "")
GIVEN_BACK: Hold = (-math.inf, UNBEGUN)

REASONS = {
    LATE: "it outlived its timeout and cannot be cancelled",
    UNBEGUN: "something blocks the event loop, and it has not begun",
}


class RunningJob(Charged, Protocol):
    """An attempt, as far as its lease is concerned."""

    @property
    def lateness(self) -> str:
        """Why its time is over, if it has a timeout."""
        ...


class LeaseKeeper:
    """Renews the leases that a worker holds.

    Args:
        core: of the queue.
        pulse: of the worker's event loop.
        running: the attempts of the worker, by what it holds.
        lost_leases: the worker's calls for leases whose answers were lost.
        lost: called, from the thread, with each lease that another worker has taken, or that was given up.
        beat: called, from the thread, at each renewal, with the thread's client.
    """

    def __init__(
        self,
        core: QueueCore,
        pulse: Pulse,
        running: Mapping[Held, RunningJob],
        lost_leases: LostLeases,
        lost: Callable[[Held], None],
        beat: Callable[[redis.Redis], None],
    ) -> None:
        self._core = core
        self._timings = core.timings
        self._pulse = pulse
        self._running = running
        self._lost_leases = lost_leases
        self._lost = lost
        self._beat = beat
        self._held: dict[Held, Hold] = {}
        self._offered = core.offered
        self._deciding = threading.Lock()
        """Held while deciding whether to release a job, which may begin at the same time."""
        self._thread: RenewalThread | None = None
        self._failing = False
        """True while the thread's calls fail, which is logged once."""

    def start(self) -> None:
        """Start renewing."""
        self._thread = lease_renewal.join(self._core.redis, self._timings.renewal, self._renew_all)

    def stop(self) -> None:
        """Stop renewing; the leases that are still held expire."""
        lease_renewal.leave(self._core.redis, self._renew_all)
        for each in list(self._held):
            self._note_offered(each, offered=False)

    def give_all_back(self) -> None:
        """Stop renewing, and release what is held, from another thread: this process ends without its event loop."""
        if self._thread is not None:
            self._thread.remove(self._renew_all)
            self._guarded("leases could not be given back", self._give_back, self._script(self._thread.redis))

    def hold(self, jobs: Iterable[EngineJob]) -> None:
        """Renew the leases of jobs from now on; each is released unless it begins within `Timings.begin_within`."""
        hold = (self._pulse.awake() + self._timings.begin_within, UNBEGUN)
        self._held.update({(job.key, job.lease): hold for job in jobs})

    def begin(self, held: Held, begun: float, timeout: float | None) -> float | None:
        """A job begins to run: its lease is renewed until its timeout and the grace time after it are over.

        Args:
            held: the job.
            begun: now, by `Pulse.fair`.
            timeout: seconds that it may run; None or 0: no limit.

        Returns:
            The end of its timeout by the clock of `Pulse.fair`, or None: it must not begin, its lease was released.
        """
        timeout_ends = begun + timeout if timeout else math.inf
        with self._deciding:
            if self._held.get(held, GIVEN_BACK) is GIVEN_BACK:
                return None
            self._held[held] = (timeout_ends + self._timings.timeout_grace + self._timings.loop_first, LATE)
        return timeout_ends

    def charge(self, held: Held, seconds: float) -> None:
        """A job has blocked the event loop for so many seconds, which do not count for other jobs."""
        with self._deciding:
            ends, mark = self._held.get(held, ENDED)
            if mark == LATE:
                self._held[held] = (ends - seconds, mark)

    def holds(self, held: Held) -> bool:
        """True unless the lease was given up or lost."""
        return held in self._held

    def ended(self, held: Held) -> None:
        """The job no longer runs: its lease is renewed until `release`, however long its outcome waits to be
        written."""
        if held in self._held:
            self._held[held] = ENDED

    def release(self, jobs: Iterable[Held]) -> None:
        """Stop renewing their leases."""
        for held in jobs:
            self._held.pop(held, None)
        self._offered.difference_update(jobs)

    def _renew_all(self, client: redis.Redis) -> None:
        reported = self._guarded("its worker's state is not reported", self._beat, client)
        script, held = self._script(client), list(self._held)
        renewed = [
            self._guarded("leases could not be renewed", self._renew, script, held[first : first + RENEWED_AT_ONCE])
            for first in range(0, len(held), RENEWED_AT_ONCE)
        ]
        looked = self._guarded("lost leases could not be looked for", self._disown, client)
        self._failing = not all([reported, *renewed, looked])

    def _script(self, client: redis.Redis) -> Any:
        return client.register_script(source("renew"))

    def _disown(self, client: redis.Redis) -> None:
        if lost := self._lost_leases.prefixes():
            scripts = self._core.scripts
            client.register_script(source("disown"))(keys=scripts.keys("disown"), args=[*scripts.common(), *lost])
            self._lost_leases.looked_for()

    def _guarded(self, failure: str, call: Callable[..., Any], *args: Any) -> bool:
        """True unless the call failed; a thread that ends would cost all leases."""
        try:
            call(*args)
        except (RedisError, OSError) as error:
            logger.log(
                logging.DEBUG if self._failing else logging.WARNING,
                "queue %s: %s, trying again: %s", self._core.name, failure, error,
            )  # fmt: skip
            self._failing = True
        except Exception:
            logger.exception("queue %s: %s, trying again", self._core.name, failure)
        else:
            return True
        return False

    def _renew(self, script: Any, held: list[Held]) -> None:
        late = self._late(held)
        for each, mark in late.items():
            # The job's error has the stack.
            reason = REASONS.get(mark) or mark.split("\n")[1].removesuffix(", here:")
            logger.error("the lease of the job %s is released: %s", each[0], reason)
        block = self._pulse.block
        stalled = block is not None and block.seconds >= self._timings.stall
        offers = self._offers(block, held) if block is not None and stalled else {}
        kept = [each for each in held if not stalled or each not in self._offered]
        for each in offers:
            # First: another worker may have it before the answer of Redis is here.
            self._set_offered(each, offered=True)
        marks = dict.fromkeys(kept, "") | offers | late
        for each, holds in self._tell(script, marks):
            # What has ended meanwhile is no longer held, and not lost.
            if (not holds or each in late) and self._held.pop(each, None) is not None:
                # What waits for this, see `decided` in `tasks/completion.py`, ends with its cancellation, however late.
                self._offered.discard(each)
                self._lost(each)
            else:
                self._note_offered(each, offered=holds and each in offers)

    def _late(self, held: Iterable[Held]) -> dict[Held, str]:
        """The jobs to give up for good, and their mark."""
        awake = self._pulse.certain()
        if awake is None:
            # Nothing is given up while the time is uncertain.
            return {}
        clocks = {UNBEGUN: awake, LATE: self._pulse.fair(), "": -math.inf}
        with self._deciding:
            over = [each for each in held if (hold := self._held.get(each, ENDED))[0] <= clocks[hold[1]]]
            marks = {each: self._held[each][1] for each in over}
            self._held.update(dict.fromkeys((each for each in over if marks[each] == UNBEGUN), GIVEN_BACK))
        return {each: mark if mark == UNBEGUN else self._late_mark(each) for each, mark in marks.items()}

    def _late_mark(self, held: Held) -> str:
        attempt = self._running.get(held)
        return f"{LATE}\n{attempt.lateness}" if attempt is not None else LATE

    def _offers(self, block: Block, held: Iterable[Held]) -> dict[Held, str]:
        """The jobs that wait for a blocked event loop, and their mark; no job that runs at most once."""
        mark = STALLED if block.charged is not None else HUNG
        offers = {
            each: mark
            for each in held
            if each not in self._offered
            and self._held.get(each, ENDED)[1] == LATE
            and (attempt := self._running.get(each)) is not None
            and attempt is not block.charged
            and not attempt.job.meta.get(AT_MOST_ONCE)
        }
        if offers:
            logger.error(
                "queue %s: %d jobs that wait for the event loop are offered to other workers; %s blocks it for %.0f s",
                self._core.name, len(offers), block.who or "no job", block.seconds,
            )  # fmt: skip
        return offers

    def _note_offered(self, held: Held, *, offered: bool) -> None:
        self._set_offered(held, offered=offered)
        if offered:
            self._offered.add(held)
        else:
            self._offered.discard(held)

    def _set_offered(self, held: Held, *, offered: bool) -> None:
        if (attempt := self._running.get(held)) is not None:
            attempt.job.offered = offered

    def _give_back(self, script: Any) -> None:
        """A job that has begun is released like the jobs of a blocked event loop; the lease of one that has ended
        expires."""
        marks = {}
        for each, (_, mark) in list(self._held.items()):
            attempt = self._running.get(each)
            if mark == UNBEGUN:
                marks[each] = UNBEGUN
            elif mark == LATE and attempt is not None and each not in self._offered:
                marks[each] = HUNG if attempt.job.meta.get(AT_MOST_ONCE) else STALLED
        self._tell(script, marks)

    def _tell(self, script: Any, marks: Mapping[Held, str]) -> list[tuple[Held, bool]]:
        """Renew leases ('') or mark them; for each whether it was still held."""
        if not marks:
            return []
        args: list[Any] = [*self._core.scripts.common(), self._timings.lease]
        for (key, lease), mark in marks.items():
            args += [key, lease, mark]
        answers = script(keys=self._core.scripts.keys("renew"), args=args)
        return [(each, bool(answer)) for each, answer in zip(marks, answers, strict=True)]
