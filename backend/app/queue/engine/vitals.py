"""Vitals: what a worker's heartbeat thread sees of it, and what health tells of that.

The thread asks the event loop for an answer at each beat. When there is none until the next, something blocks the loop:
the thread logs the stack and the job once, and goes on to tell Redis, which the loop cannot.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, cast

import msgspec
import redis

from app.queue.engine import pausing
from app.queue.engine.job import level_of
from app.queue.engine.scripts import source

if TYPE_CHECKING:
    from app.queue.engine.leased import LeasedQueue
    from app.queue.engine.slots import Slots

logger = logging.getLogger("app.worker")

STALE = 30.0
"""Seconds after its last beat that a worker's vitals are forgotten."""

NOT_CONSUMING = 15.0
"""Seconds that a worker with free slots may take no job while jobs wait."""

VITALS = "vitals"
"""A hash of the queue: by worker when it told its vitals, in epoch seconds, and those as JSON."""


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
    records: str = ""
    """What keeps its job records from being written; empty: nothing."""


class Watch:
    """Looks after one worker; `beat` is for the heartbeat thread.

    Args:
        slots: of the worker; made in the thread of its event loop.
    """

    def __init__(self, slots: "Slots") -> None:
        self._slots = slots
        self._thread = threading.get_ident()
        self._asked = 0.0
        self._answered = 0.0
        self._sampled = False

    def beat(self, client: redis.Redis) -> None:
        """Tell Redis the vitals; log what blocks the event loop.

        Raises:
            RedisError: Redis is away.
        """
        vitals = self._look()
        scripts = self._slots.queue.scripts
        script = client.register_script(source("beat"))
        script(keys=scripts.keys, args=[*scripts.common(), self._slots.worker.id, msgspec.json.encode(vitals)])

    def _look(self) -> Vitals:
        current = time.monotonic()
        slots = self._slots
        vitals = Vitals(round(current - slots.leasing.answered_at, 1), slots.worker.concurrency - len(slots.running))
        if slots.queue.recorder is not None:
            vitals.records = slots.queue.recorder.trouble
        if self._asked > self._answered:
            vitals.blocked = round(current - self._asked, 1)
            vitals.blocker = self._blocker()
            if not self._sampled:
                self._sampled = True
                stack = "".join(traceback.format_stack(sys._current_frames().get(self._thread)))
                logger.error(
                    "the event loop has not answered for %s s, no other job goes on; %s blocks it:\n%s",
                    vitals.blocked, vitals.blocker or "no job", stack,
                )  # fmt: skip
            return vitals
        self._sampled = False
        self._asked = current
        self._slots.loop.call_soon_threadsafe(self._answer)
        return vitals

    def _answer(self) -> None:
        self._answered = time.monotonic()

    def _blocker(self) -> str:
        """The job whose task the event loop is in."""
        current = asyncio.current_task(self._slots.loop)
        for attempt in list(self._slots.running.values()):
            if attempt.task is current:
                return f"job {attempt.job.key} of {attempt.job.function}"
        return ""


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
