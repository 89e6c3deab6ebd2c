"""Vitals: what a worker's heartbeat thread sees of it, and what health tells of that.

The thread goes on to report to Redis while a job blocks the event loop, which cannot then.
"""

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, cast

import msgspec
import redis

from saqueduct.broker.keys import VITALS
from saqueduct.broker.scripts import source
from saqueduct.queue import pausing
from saqueduct.tasks.job import level_of

if TYPE_CHECKING:
    from saqueduct.queue.saq_queue import LeasedQueue
    from saqueduct.worker.job_runner import Slots

logger = logging.getLogger("saqueduct.worker")

STALE = 30.0
"""Seconds after its last beat that a worker's vitals are forgotten."""

NOT_CONSUMING = 15.0
"""Seconds that a worker with free slots may take no job while jobs wait."""

BLOCKED = 1.0
"""Seconds without an answer of the event loop that are reported."""

TASKS = 5
"""Tasks that a report names at most."""


class Vitals(msgspec.Struct, omit_defaults=True):
    """What a worker tells of itself at each beat. All times are seconds since then: clocks of machines differ."""

    leased: float
    """Since it last asked for jobs and got an answer."""
    free: int
    """Slots without a job."""
    blocked: float = 0.0
    """Seconds for which its event loop has not answered; 0: it does."""
    blocker: str = ""
    """Key and task of the job that blocks it, as far as one can tell."""
    given_up: int = 0
    """Attempts that ignore their cancellation, and still run beside the slots: coroutines and threads."""
    given_up_tasks: str = ""
    """Of which tasks they are."""
    records: str = ""
    """What keeps its job records from being written; empty: nothing."""


class Watch:
    """Looks after one worker; `beat` is for the heartbeat thread.

    Args:
        slots: of the worker.
    """

    def __init__(self, slots: "Slots") -> None:
        self._slots = slots

    def beat(self, client: redis.Redis) -> None:
        """Tell Redis the vitals.

        Raises:
            RedisError: Redis is away.
        """
        vitals = self._look()
        scripts = self._slots.queue.scripts
        script = client.register_script(source("beat"))
        script(keys=scripts.keys, args=[*scripts.common(), self._slots.worker.id, msgspec.json.encode(vitals)])

    def _look(self) -> Vitals:
        slots = self._slots
        leased = round(time.monotonic() - slots.leasing.answered_at, 1)
        # In quarantine it may be without room whatever is free.
        free = 0 if slots.suspects.quarantine.active else slots.worker.concurrency - len(slots.running)
        vitals = Vitals(leased, free)
        if slots.queue.recorder is not None:
            vitals.records = slots.queue.recorder.trouble
        if given_up := list(slots.given_up):
            vitals.given_up = len(given_up)
            tasks = Counter(attempt.job.function for attempt in given_up)
            vitals.given_up_tasks = ", ".join(f"{count} of {task}" for task, count in tasks.most_common(TASKS))
        block, blocked = slots.pulse.block, slots.pulse.blocked_for()
        if blocked > BLOCKED:
            vitals.blocked = round(blocked, 1)
            vitals.blocker = block.who if block is not None else ""
        return vitals


async def troubles(queue: "LeasedQueue") -> list[str]:
    """What is wrong with the workers of a queue that are alive; a sentence each."""
    told = cast("dict[bytes, bytes]", await queue.redis.hgetall(queue.namespace(VITALS)))
    current = await queue.time() if told else 0.0
    waited = await _waited(queue, current) if told else 0.0
    found: list[str] = []
    for worker, stored in told.items():
        at, _, raw = stored.partition(b" ")
        vitals = msgspec.json.decode(raw, type=Vitals)
        name = f"queue {queue.name}: the worker {worker.decode()}"
        if current - float(at) > STALE:
            await queue.redis.hdel(queue.namespace(VITALS), worker.decode())
            continue
        if vitals.records:
            found.append(f"{name}: {vitals.records}")
        if vitals.given_up:
            found.append(
                f"{name} runs {vitals.given_up} attempts that ignore their cancellation and were given up: "
                f"{vitals.given_up_tasks}"
            )
        if vitals.blocked:
            what = vitals.blocker or "something that is no job"
            found.append(f"{name} is blocked for {vitals.blocked} s: {what} keeps its event loop")
        elif vitals.free > 0 and min(waited, vitals.leased) > NOT_CONSUMING:
            found.append(
                f"{name} is alive but not consuming: jobs wait, and it asked for none for {vitals.leased:.0f} s"
            )
    return found


async def _waited(queue: "LeasedQueue", current: float) -> float:
    """Seconds that the first job of the normal list has waited; 0: none waits, or the queue is paused."""
    if await pausing.paused(queue) is not None:
        return 0.0
    head = cast("bytes | None", await queue.redis.lindex(queue.namespace("queued"), 0))
    job = await queue.job(queue.job_key_from_id(head.decode())) if head else None
    if job is None or level_of(job) != "normal":
        return 0.0
    since = max(job.queued, job.touched) / 1000
    return max(0.0, current - max(since, float(job.scheduled)))
