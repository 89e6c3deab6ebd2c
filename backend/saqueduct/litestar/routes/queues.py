"""Queues: their numbers, pausing and resuming."""

import msgspec
from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody

from saqueduct.litestar.routes.answers import ADMIN, PauseRequest
from saqueduct.queue.pausing import Pause
from saqueduct.queue.queue import EngineQueue
from saqueduct.queue.queues import Queues


class QueueView(msgspec.Struct):
    """A queue as it stands."""

    name: str
    queued: int
    """Jobs that wait in line."""
    active: int
    """Jobs that run."""
    scheduled: int
    """Jobs that wait for their time."""
    workers: int
    """Live ones."""
    paused: Pause | None

    @classmethod
    async def of(cls, queue: EngineQueue) -> "QueueView":
        stats = await queue.stats()
        return cls(queue.name, stats.queued, stats.active, stats.scheduled, stats.workers, stats.paused)


class QueueController(Controller):
    """Queues by name."""

    path = "/queues"
    tags = ("Queues",)

    @get(**ADMIN)
    @inject
    async def all_of_them(self, queues: FromDishka[Queues]) -> list[QueueView]:
        """Every queue of QUEUE_NAMES."""
        return [await QueueView.of(queue) for queue in queues]

    @get("/{name:str}", **ADMIN)
    @inject
    async def show(self, name: FromPath[str], queues: FromDishka[Queues]) -> QueueView:
        """The queue as it stands."""
        return await QueueView.of(queues.look_up(name))

    @post("/{name:str}/pause", **ADMIN, status_code=200)
    @inject
    async def pause(
        self, name: FromPath[str], queues: FromDishka[Queues], data: JSONBody[PauseRequest | None] = None
    ) -> QueueView:
        """Let workers take no more jobs of the queue; running jobs go on, enqueue goes on."""
        queue = queues.look_up(name)
        asked = data or PauseRequest()
        await queue.pause(asked.by, asked.why)
        return await QueueView.of(queue)

    @post("/{name:str}/resume", **ADMIN, status_code=200)
    @inject
    async def resume(self, name: FromPath[str], queues: FromDishka[Queues]) -> QueueView:
        """Let workers take jobs of the queue again; no error when it was not paused."""
        queue = queues.look_up(name)
        await queue.resume()
        return await QueueView.of(queue)
