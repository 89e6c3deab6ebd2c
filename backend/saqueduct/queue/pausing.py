"""Pausing: a queue whose jobs wait until it is resumed.

The pause is stored in Redis, and the script that leases jobs checks it: no worker can miss it, and it survives restarts
of workers and of Redis. Workers that were refused wait for the entry that `resume` puts into a separate list, because
the list of the jobs would wake them repeatedly.
"""

from typing import cast

import msgspec

from saqueduct.broker.keys import PAUSED
from saqueduct.common.text import storable
from saqueduct.queue.core import QueueCore


class Pause(msgspec.Struct, frozen=True):
    """Who paused a queue or a schedule, and why."""

    by: str = ""
    why: str = ""
    since: float = 0.0
    """Epoch seconds by the clock of Redis."""


def encoded(by: str, why: str) -> bytes:
    """What the scripts store about a pause, in addition to its time."""
    return msgspec.json.encode({"by": storable(by), "why": storable(why)})


def decoded(note: bytes) -> Pause:
    """Decode a pause from the form that the scripts store."""
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

    async def pause_worker(self, worker: str, by: str, why: str) -> Pause | None:
        """See `Queues.pause_worker`; None: no such worker has reported."""
        note = await self._core.scripts.run("pause_worker", worker, encoded(by, why))
        return decoded(note) if note else None

    async def resume_worker(self, worker: str) -> bool:
        """See `Queues.resume_worker`."""
        return bool(await self._core.scripts.run("resume_worker", worker))

    async def current(self) -> Pause | None:
        """See `EngineQueue.paused`."""
        note = cast("bytes | None", await self._core.redis.get(self._core.namespace(PAUSED)))
        return decoded(note) if note is not None else None
