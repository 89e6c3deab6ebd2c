"""Pausing: a queue whose jobs wait until it is resumed.

That a queue is paused stands in Redis, and the script that leases jobs looks there: no worker can miss it, and it holds
through restarts of workers and of Redis. Workers that were refused wait for the entry that `resume` puts into a list of
its own, since the list of the jobs would wake them again and again.
"""

import asyncio
from typing import TYPE_CHECKING, cast

import msgspec

from saqueduct.broker.keys import PAUSED
from saqueduct.broker.outage import answering
from saqueduct.common.text import storable

if TYPE_CHECKING:
    from saqueduct.queue.saq_queue import LeasedQueue

LOOK = 0.2
"""Seconds between two looks for jobs that still run."""


class Pause(msgspec.Struct, frozen=True):
    """Who has paused a queue or a schedule, and why."""

    by: str = ""
    why: str = ""
    since: float = 0.0
    """Epoch seconds by the clock of Redis."""


def told(by: str, why: str) -> bytes:
    """What the scripts keep of a pause beside its time."""
    return msgspec.json.encode({"by": storable(by), "why": storable(why)})


def read(note: bytes) -> Pause:
    """A pause as the scripts keep it."""
    since, _, words = note.partition(b" ")
    return msgspec.structs.replace(msgspec.json.decode(words, type=Pause), since=float(since))


async def pause(queue: "LeasedQueue", by: str, why: str) -> Pause:
    """See `EngineQueue.pause`."""
    return read(await queue.scripts.run("pause", told(by, why)))


async def resume(queue: "LeasedQueue") -> bool:
    """See `EngineQueue.resume`."""
    return bool(await queue.scripts.run("resume"))


async def paused(queue: "LeasedQueue") -> Pause | None:
    """See `EngineQueue.paused`."""
    note = cast("bytes | None", await queue.redis.get(queue.namespace(PAUSED)))
    return read(note) if note is not None else None


async def wait_for_rest(queue: "LeasedQueue", timeout: float) -> int:
    """Wait until no job of the queue runs, for so many seconds at most; returns how many do.

    Raises:
        QueueUnavailable: Redis did not answer.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while True:
        async with answering():
            active = await queue.count("active")
        left = end - loop.time()
        if not active or left <= 0:
            return active
        await asyncio.sleep(min(LOOK, left))
