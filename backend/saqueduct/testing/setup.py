"""How the project under test builds its queues, injector and workers."""

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from saqueduct.errors import ConfigurationError
from saqueduct.injection.injector import Injector
from saqueduct.queue.queues import Queues
from saqueduct.worker.worker import EngineWorker


@dataclasses.dataclass(frozen=True, slots=True)
class QueueSetup:
    """What the fixture `queue_setup` of a project returns; the kit itself knows no settings.

        QueueSetup(
            partial(build_queues, settings), partial(build_injector, settings), partial(build_workers, settings)
        )

    Attributes:
        queues: makes the queues, not connected yet.
        injector: makes what jobs are injected from.
        workers: makes one worker for each queue that is to be served.
    """

    queues: Callable[[], Queues]
    injector: Callable[[Queues], Injector]
    workers: Callable[[Queues, Injector], Sequence[EngineWorker]]

    def workers_for(self, queues: Queues, injector: Injector, *, schedules: bool = False) -> list[EngineWorker]:
        """Workers; without `schedules` they make no jobs of their own, so that a test sees only what it enqueues."""
        workers = list(self.workers(queues, injector))
        if not schedules:
            for worker in workers:
                worker.scheduled, worker.cron_jobs = None, []
        return workers

    def worker_for(self, queues: Queues, injector: Injector, name: str) -> EngineWorker:
        """A worker of one queue, without schedules.

        Raises:
            ConfigurationError: the project runs no worker for it.
        """
        for worker in self.workers_for(queues, injector):
            if worker.queue is queues.get(name):
                return worker
        raise ConfigurationError(f"no worker serves the queue {name!r}; see the fixture `queue_setup`")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Queues, Injector]]:
        """Queues and injector of the running event loop's own, closed at the end of the block."""
        queues = self.queues()
        injector = self.injector(queues)
        await queues.connect()
        try:
            yield queues, injector
        finally:
            await injector.close()
            await queues.disconnect()
