"""How the project under test builds its queues, injector and workers."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from saqueduct.application import Saqueduct, build_workers
from saqueduct.config import SaqueductConfig
from saqueduct.errors import ConfigurationError
from saqueduct.injection.injector import Injector
from saqueduct.injection.named import Application
from saqueduct.queue.queues import Queues
from saqueduct.tasks.registry import TaskRegistry
from saqueduct.worker.worker import EngineWorker


class Setup(ABC):
    """Builds queues, injectors and workers for the kit, which has no settings itself."""

    @abstractmethod
    def make_queues(self) -> Queues:
        """Queues, not connected; no jobs are run with them."""

    @abstractmethod
    def make_workers(self, queues: Queues, injector: Injector) -> Sequence[EngineWorker]:
        """One worker for each queue to serve."""

    @abstractmethod
    def opened(self) -> AbstractAsyncContextManager[tuple[Queues, Injector]]:
        """Queues and injector of the running event loop's own, closed at the end of the block."""

    def workers_for(self, queues: Queues, injector: Injector, *, schedules: bool = False) -> list[EngineWorker]:
        """Workers; without `schedules` they make no jobs of their own, so that a test sees only what it enqueues."""
        workers = list(self.make_workers(queues, injector))
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
        raise ConfigurationError(f"no worker serves the queue {name!r}; see the fixture `saqueduct_config`")


@dataclasses.dataclass(frozen=True, slots=True)
class ConfiguredSetup(Setup):
    """Builds what a `SaqueductConfig` describes.

    Attributes:
        config: with the URLs of servers for tests.
        application: of Litestar, whose `Provide`s tasks are injected from; None: there is none.
    """

    config: SaqueductConfig
    application: Application | None = None

    def make_queues(self) -> Queues:
        return self.build().queues

    def make_workers(self, queues: Queues, injector: Injector) -> Sequence[EngineWorker]:
        # With the tasks that come with PostgreSQL.
        registry = cast("TaskRegistry", queues.tasks)
        return build_workers(self.config, queues, registry, injector, self.config.served_queues)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Queues, Injector]]:
        async with self.build() as saqueduct:
            yield saqueduct.queues, saqueduct.injectors.all

    def build(self) -> Saqueduct:
        """Queues, tasks and injectors, not connected."""
        saqueduct = Saqueduct(self.config)
        if self.application is not None:
            saqueduct.injectors.named.serve(self.application)
        return saqueduct


@dataclasses.dataclass(frozen=True, slots=True)
class QueueSetup(Setup):
    """Builds what functions of the project make, for a project that composes its parts itself.

    Attributes:
        queues: makes the queues, not connected yet.
        injector: makes what jobs are injected from.
        workers: makes one worker for each queue to serve.
    """

    queues: Callable[[], Queues]
    injector: Callable[[Queues], Injector]
    workers: Callable[[Queues, Injector], Sequence[EngineWorker]]

    def make_queues(self) -> Queues:
        return self.queues()

    def make_workers(self, queues: Queues, injector: Injector) -> Sequence[EngineWorker]:
        return self.workers(queues, injector)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Queues, Injector]]:
        queues = self.queues()
        injector = self.injector(queues)
        await queues.connect()
        try:
            yield queues, injector
        finally:
            await injector.close()
            await queues.disconnect()
