"""Batching: calls in the same loop tick, and calls made while a batch is in flight, share one round trip."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from saqueduct.broker.batch_sizes import BATCH_BYTES, fitting
from saqueduct.common.own_context import create_shared_task

T = TypeVar("T")
R = TypeVar("R")


class Batches(Generic[T, R]):
    """Sends items in batches; nothing waits for a batch to fill.

    Args:
        send: sends the items of a batch, in the order of the calls, and returns an answer for each.
        limit: maximum items of one batch.
        sizes: returns the bytes of each item, if items can be large: see `sizes.fitting`.
        check: called before an item is accepted: raises if the running event loop is another one.
        most_bytes: maximum bytes of one batch, by `sizes`.
    """

    def __init__(
        self,
        send: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        limit: int,
        sizes: Callable[[Sequence[T]], list[int]] | None = None,
        check: Callable[[], None] | None = None,
        most_bytes: int = BATCH_BYTES,
    ) -> None:
        self._most_bytes = most_bytes
        self._check = check
        self._send = send
        self._limit = limit
        self._sizes = sizes
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._sender: asyncio.Task[None] | None = None

    def add(self, item: T) -> asyncio.Future[R]:
        """Send an item with the next batch. The future receives its answer, or the error of `send`.

        Raises:
            Exception: any exception of `check`.
        """
        if self._check is not None:
            self._check()
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._sender is None or self._sender.done():
            self._sender = create_shared_task(self._send_all())
        return future

    async def _send_all(self) -> None:
        while self._waiting:
            items = [item for item, _ in self._waiting[: self._limit]]
            if self._sizes is not None:
                del items[fitting(items, self._limit, self._sizes, self._most_bytes) :]
            batch, self._waiting = self._waiting[: len(items)], self._waiting[len(items) :]
            try:
                answers = await self._send(items)
            except Exception as error:
                # Fail the waiting items too: each batch may have waited for Redis as long as a call may take.
                failed, self._waiting = batch + self._waiting, []
                for _, future in failed:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
