"""Workers that share the event loop with other code: in a web process, a script or a test."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from saqueduct.worker.worker import EngineWorker

logger = logging.getLogger("saqueduct.worker")


class BackgroundWorkers:
    """One worker per queue, until `stop`.

    Args:
        build: makes the worker of a queue.
        names: of the queues.
        restart_pause: seconds after which a worker that stops by itself is replaced, for example after too many jobs
            that ignore their cancellation. None: it is not, and `wait` returns then.

    Raises:
        Exception: what `build` raises.
    """

    def __init__(self, build: Callable[[str], EngineWorker], names: Sequence[str], restart_pause: float | None) -> None:
        self._build = build
        self._restart_pause = restart_pause
        self._stopping = asyncio.Event()
        self._workers = {name: build(name) for name in names}
        self._running = [asyncio.create_task(self._run(name), name=f"worker {name}") for name in names]

    async def wait(self) -> None:
        """Wait until all have stopped, or one has failed.

        Raises:
            Exception: the error of that worker.
        """
        await asyncio.gather(*(asyncio.shield(each) for each in self._running))

    async def stop(self) -> None:
        """Let running jobs end within the grace period, and release the others; a cancellation does not cut this short.

        Raises:
            Exception: the error of a worker.
        """
        self._stopping.set()
        for worker in self._workers.values():
            worker.request_stop()
        cancelled: asyncio.CancelledError | None = None
        while left := [each for each in self._running if not each.done()]:
            try:
                await asyncio.wait(left)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
        for each in self._running:
            each.result()

    async def _run(self, name: str) -> None:
        while True:
            await self._run_once(name)
            if self._stopping.is_set() or self._restart_pause is None:
                return
            logger.error("the worker of the queue %s has stopped and is replaced by another one", name)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._restart_pause):
                    await self._stopping.wait()
                    return
            self._workers[name] = self._build(name)

    async def _run_once(self, name: str) -> None:
        try:
            await self._workers[name].start()
        except Exception:
            if self._restart_pause is None:
                raise
            logger.exception("the worker of the queue %s failed", name)
