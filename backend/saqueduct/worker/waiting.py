"""Waiting: a worker that has free slots and found no job leases the next one as soon as it arrives.

Two commands go to Redis together: one that waits for an entry of the queue's list, and the lease, which Redis carries
out as soon as the first has an answer. So a new job wakes one worker, however many wait, and that worker gets it
immediately. Meanwhile Redis keeps the entry in a separate list, AWAITED. Every lease, and every search for orphans,
first puts the entries of that list back in the queue, so that nothing is lost with a worker or its connection.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

import saq.worker
from redis.exceptions import NoScriptError, RedisError

from saqueduct.broker.connections import lasting
from saqueduct.broker.keys import AWAITED, RESUMED
from saqueduct.queue.core import QueueCore


class Waiting:
    """Waits for one worker.

    Args:
        core: of the queue.
        promote: moves due jobs into line, and returns their ids; see `LeasedQueue.schedule`.
        stopping: set when the worker takes no more jobs.
    """

    def __init__(
        self, core: QueueCore, promote: Callable[[], Awaitable[Sequence[str]]], stopping: asyncio.Event
    ) -> None:
        self._core = core
        self._promote_due = promote
        self._stopping = stopping
        self._token = uuid.uuid4().hex
        self._call: asyncio.Future[Any] | None = None
        """What the worker waits for."""
        self._timer: asyncio.TimerHandle | None = None
        self._beside: set[asyncio.Task[None]] = set()

    async def lease(self, arguments: tuple[Any, ...], seconds: float) -> Any:
        """Lease as soon as a job arrives, or after so many seconds; None: the worker stops.

        Args:
            arguments: of `scripts/lease.lua`.
            seconds: more than 0, `Timings.peek` at most.

        Raises:
            ConnectionError: redis-py's; Redis is away, or refuses everything for now.
        """
        return await self._until_stop(self._lease(arguments, seconds))

    async def resumption(self) -> None:
        """Wait for the end of a pause."""
        # A Redis that has forgotten a pause, or lost it in a failover, notifies no worker of its end.
        key = self._core.namespace(RESUMED)
        end = time.monotonic() + self._core.timings.pause_check
        while not self._stopping.is_set() and time.monotonic() < end:
            # Moved to where it is: for all workers to see.
            seconds = cast("int", self._core.timings.peek)
            move: Any = lasting(self._core.redis).blmove(key, key, seconds, "LEFT", "RIGHT")
            if await self._until_stop(move) is not None:
                break

    @property
    def stopped(self) -> bool:
        """True when the worker takes no more jobs."""
        return self._stopping.is_set()

    def due_in(self, seconds: float | None) -> None:
        """When the next delayed job is due, so many seconds from now; it is then moved to the queue, whichever worker
        runs it."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if seconds is not None and not self._stopping.is_set():
            self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._run_beside, self._promote)

    def stop(self) -> None:
        """Stop waiting."""
        self.due_in(None)
        if self._call is not None:
            self._run_beside(self._leave)

    def interrupt(self) -> None:
        """Let the wait in progress lease nothing: a job that ends it goes to another worker."""
        if self._call is not None:
            token, self._token = self._token, uuid.uuid4().hex
            self._run_beside(partial(self._withdraw, token))

    async def close(self) -> None:
        """Wait until no call that needs a connection is in progress."""
        if self._beside:
            await asyncio.wait(self._beside, timeout=self._core.timings.peek)

    async def _until_stop(self, waiting: Any) -> Any:
        call: asyncio.Future[Any] = asyncio.ensure_future(waiting)
        self._call = call
        try:
            # Not awaited itself: the way it handles a cancellation must not keep the worker from ending.
            await asyncio.wait([call])
            return None if call.cancelled() else call.result()
        finally:
            call.cancel()
            self._call = None

    async def _lease(self, arguments: tuple[Any, ...], seconds: float) -> Any:
        scripts, token = self._core.scripts, self._token
        key, there = self._core.namespace("queued"), self._core.namespace(AWAITED)
        woken, answer = await scripts.waiting.call(
            ("BLMOVE", key, there, "LEFT", "RIGHT", seconds),
            scripts.command("lease", *arguments, token),
            again=False,
        )
        try:
            scripts.raised(woken)
            return scripts.raised(answer)
        except NoScriptError:
            return await scripts.run("lease", *arguments, token, again=False)

    async def _withdraw(self, token: str) -> None:
        """Let the wait with this token lease nothing."""
        with suppress(RedisError, OSError):
            async with asyncio.timeout(self._core.timings.leave):
                await self._core.scripts.run("leave", token)

    async def _leave(self) -> None:
        """Stop waiting, without leaving a lease that no worker knows of."""
        call = self._call
        await self._withdraw(self._token)
        if call is not None:
            # Jobs that were leased before arrive with the answer, which is on its way.
            await asyncio.wait([call], timeout=self._core.timings.last_lease)
            call.cancel()

    def _run_beside(self, what: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(what())
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _promote(self) -> None:
        with suppress(RedisError, OSError):
            if promoted := await self._promote_due():
                saq.worker.logger.info("Scheduled %s", promoted)
