"""The jobs of a queue that have not ended, and when they are due."""

from collections.abc import Iterable
from typing import cast

from saqueduct.queue.queue import EngineQueue

LINES = (
    *("queued", "queued:high", "queued:low", "awaited", "leases", "active"),
    *("flow:ring:high", "flow:ring:normal", "flow:ring:low"),
)
"""Where jobs are that run or can start, as `broker/keys.py` and `lua/limits.lua` name them."""


class IncompleteJobs:
    """The jobs of a queue that have not ended.

    Args:
        queue: connected to the running event loop.
    """

    def __init__(self, queue: EngineQueue) -> None:
        self._queue = queue
        self._name = queue.namespace("incomplete")

    async def listed(self, last: int = -1) -> list[tuple[str, float]]:
        """Key and due time of each, the first due first, up to the `last`."""
        entries = await self._queue.redis.zrange(self._name, 0, last, withscores=True)
        prefix = self._queue.job_id("")
        return [(entry.decode().removeprefix(prefix), due) for entry, due in cast("list[tuple[bytes, float]]", entries)]

    async def due_times(self, keys: Iterable[str]) -> list[float]:
        """When each of these jobs is due; nothing for those that have ended."""
        ids = [self._queue.job_id(key) for key in keys]
        scores = await self._queue.redis.zmscore(self._name, ids) if ids else []
        return [float(score) for score in scores if score is not None]

    async def first_due(self) -> list[float]:
        """When the next one is due, or the next limit opens if all wait for one; nothing if there is none."""
        return [due or await self._opening() for _, due in await self.listed(last=0)]

    async def _opening(self) -> float:
        """When the first limit opens, or the first delayed job is due, if no job runs or can start; else 0."""
        async with self._queue.redis.pipeline(transaction=True) as pipe:
            for line in LINES:
                pipe.exists(self._queue.namespace(line))
            pipe.zrange(self._queue.namespace("flow:sleeping"), 0, 0, withscores=True)
            pipe.zrange(self._name, "(0", "+inf", byscore=True, offset=0, num=1, withscores=True)
            *busy, gates, delayed = await pipe.execute()
        if any(busy) or not gates:
            return 0.0
        return min(float(due) for _, due in (*gates, *delayed))
