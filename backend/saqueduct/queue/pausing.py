"""Pausing: a queue whose jobs wait until it is resumed.

That a queue is paused stands in Redis, and the script that leases jobs looks there: no worker can miss it, and it holds
through restarts of workers and of Redis. Workers that were refused wait for the entry that `resume` puts into a list of
its own, since the list of the jobs would wake them again and again.
"""

from typing import cast

import msgspec

from saqueduct.broker.keys import PAUSED
from saqueduct.common.text import storable
from saqueduct.queue.core import QueueCore


class Pause(msgspec.Struct, frozen=True):
    """Who has paused a queue or a schedule, and why."""

    by: str = ""
    why: str = ""
    since: float = 0.0
    """Epoch seconds by the clock of Redis."""


def encoded(by: str, why: str) -> bytes:
    """What the scripts keep of a pause beside its time."""
    return msgspec.json.encode({"by": storable(by), "why": storable(why)})


def decoded(note: bytes) -> Pause:
    """A pause as the scripts keep it."""
    since, _, words = note.partition(b" ")
    return msgspec.structs.replace(msgspec.json.decode(words, type=Pause), since=float(since))


class Pauses:
    """Pauses and resumes one queue.

    Args:
        core: of the queue.
    """

    def __init__(self, core: QueueCore) -> None:
        self._core = core

    async def pause(self, by: str, why: str) -> Pause:
        """See `EngineQueue.pause`."""
        return decoded(await self._core.scripts.run("pause", encoded(by, why)))

    async def resume(self) -> bool:
        """See `EngineQueue.resume`."""
        return bool(await self._core.scripts.run("resume"))

    async def current(self) -> Pause | None:
        """See `EngineQueue.paused`."""
        note = cast("bytes | None", await self._core.redis.get(self._core.namespace(PAUSED)))
        return decoded(note) if note is not None else None
