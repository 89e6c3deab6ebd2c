"""Marks of published jobs: Redis notes which jobs of the outbox it got, so that none is enqueued twice."""

from collections.abc import Sequence
from typing import cast

from saqueduct.queue.core import QueueCore


class PublishedMarks:
    """The marks of one queue, see `lua/publish.lua`.

    Args:
        core: of the queue.
    """

    def __init__(self, core: QueueCore) -> None:
        self._core = core
        self._name = core.namespace("published")

    async def old(self, age: float, limit: int) -> list[str]:
        """Marks that are older than `age` seconds, oldest first."""
        until = await self._core.time() - age
        found = await self._core.redis.zrangebyscore(self._name, "-inf", repr(until), start=0, num=limit)
        return [mark.decode() for mark in cast("list[bytes]", found)]

    async def forget(self, marks: Sequence[str]) -> None:
        """Delete marks."""
        if marks:
            await self._core.redis.zrem(self._name, *marks)
