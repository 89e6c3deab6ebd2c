"""How the project under test builds its queues, container and workers."""

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from dishka import AsyncContainer

from saqueduct.errors import ConfigurationError
from saqueduct.queue.queues import Queues
from saqueduct.worker.worker import EngineWorker


@dataclasses.dataclass(frozen=True, slots=True)
class QueueSetup:
    """What the fixture `queue_setup` of a project returns; the kit itself knows no settings.

        QueueSetup(
            partial(build_queues, settings), partial(build_container, settings), partial(build_workers, settings)
        )

    Attributes:
        queues: makes the queues, not connected yet.
        container: makes the container that jobs are injected from.
        workers: makes one worker for each queue that is to be served.
    """

    queues: Callable[[], Queues]
    container: Callable[[Queues], AsyncContainer]
    workers: Callable[[Queues, AsyncContainer], Sequence[EngineWorker]]

    def workers_for(self, queues: Queues, container: AsyncContainer, *, schedules: bool = False) -> list[EngineWorker]:
        """Workers; without `schedules` they make no jobs of their own, so that a test sees only what it enqueues."""
        workers = list(self.workers(queues, container))
        if not schedules:
            for worker in workers:
                worker.scheduled, worker.cron_jobs = None, []
        return workers

    def worker_for(self, queues: Queues, container: AsyncContainer, name: str) -> EngineWorker:
        """A worker of one queue, without schedules.

        Raises:
            ConfigurationError: the project runs no worker for it.
        """
        for worker in self.workers_for(queues, container):
            if worker.queue is queues.get(name):
                return worker
        raise ConfigurationError(f"no worker serves the queue {name!r}; see the fixture `queue_setup`")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Queues, AsyncContainer]]:
        """Queues and container of the running event loop's own, closed at the end of the block."""
        queues = self.queues()
        container = self.container(queues)
        await queues.connect()
        try:
            yield queues, container
        finally:
            await container.close()
            await queues.disconnect()
