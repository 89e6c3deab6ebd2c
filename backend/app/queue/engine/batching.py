"""Batching: calls of the same loop tick, and those that come while a batch is under way, share one round trip."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Batches(Generic[T, R]):
    """Sends items in batches; nothing waits for a batch to fill.

    Args:
        send: takes the items of a batch, in the order of the calls, and answers for each.
        limit: most items of one batch.
    """

    def __init__(self, send: Callable[[Sequence[T]], Awaitable[Sequence[R]]], limit: int) -> None:
        self._send = send
        self._limit = limit
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def add(self, item: T) -> R:
        """Send an item with the next batch, and return its answer; raises what `send` raises."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())
        return await future

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            try:
                answers = await self._send([item for item, _ in batch])
            except Exception as error:
                # Those that wait too: each batch may have waited for Redis as long as a call may take.
                failed, self._waiting = batch + self._waiting, []
                for _, future in failed:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)


AHEAD = 2
"""Batches under way at once: while Redis works on one, the next is packed and sent."""


async def in_turn(
    send: Callable[[Sequence[T]], Coroutine[Any, Any, Sequence[R]]], items: Sequence[T], size: int
) -> AsyncIterator[Sequence[R]]:
    """Send many items in batches, some ahead of the answers; yields the answers of each batch, in order.

    Raises:
        Exception: what `send` raises; batches that are under way are waited for, further ones are not sent.
    """
    under_way: deque[asyncio.Task[Sequence[R]]] = deque()
    try:
        for first in range(0, len(items), size):
            under_way.append(asyncio.create_task(send(items[first : first + size])))
            if len(under_way) == AHEAD:
                yield await under_way.popleft()
        while under_way:
            yield await under_way.popleft()
    finally:
        await asyncio.gather(*under_way, return_exceptions=True)
