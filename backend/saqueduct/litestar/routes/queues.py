"""Queues: their numbers, pausing and resuming."""

from typing import Any

import msgspec
from litestar import Controller, Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from saqueduct.litestar.audit import audit_entry
from saqueduct.litestar.routes.answers import NUMBERS, OPERATOR, VIEWER, PauseRequest, asker, require_reader
from saqueduct.litestar.services import QueueServices
from saqueduct.queue.pausing import Pause
from saqueduct.queue.queue import EngineQueue


class QueueView(msgspec.Struct):
    """The state of a queue."""

    name: str
    queued: int
    """Jobs that wait to run."""
    active: int
    """Jobs that run."""
    scheduled: int
    """Delayed jobs."""
    workers: int
    """Live ones."""
    paused: Pause | None

    @classmethod
    async def of(cls, queue: EngineQueue) -> "QueueView":
        stats = await queue.stats()
        return cls(queue.name, stats.queued, stats.active, stats.scheduled, stats.workers, stats.paused)


class ScaleView(msgspec.Struct):
    """What an autoscaler of workers needs to know about a queue."""

    backlog: int
    """Jobs that are due or run, and due ticks of schedules; while the queue is paused only jobs that run."""
    latency_seconds: float
    """Time that the oldest due job has waited; 0: none waits."""
    active: int
    """Jobs that run."""
    slots: int
    """Jobs that the live workers can run at the same time."""
    workers: int
    """Live ones."""

    @classmethod
    async def of(cls, queue: EngineQueue) -> "ScaleView":
        state = await queue.state()
        slots = sum(state.slots.values())
        return cls(state.backlog, round(state.latency, 3), state.active, slots, state.live_workers)


class QueueController(Controller):
    """Queues by name."""

    path = "/queues"
    tags = ("Queues",)

    @get(**VIEWER, operation_id="list_queues")
    async def all_of_them(self, services: NamedDependency[QueueServices]) -> list[QueueView]:
        """Every queue."""
        return [await QueueView.of(queue) for queue in services.queues]

    @get("/{name:str}", **VIEWER, operation_id="show_queue")
    async def show(self, name: FromPath[str], services: NamedDependency[QueueServices]) -> QueueView:
        """The state of the queue."""
        return await QueueView.of(services.queues.look_up(name))

    @get("/{name:str}/scale", **NUMBERS, operation_id="show_scale")
    async def scale(
        self, request: Request[Any, Any, Any], name: FromPath[str], services: NamedDependency[QueueServices]
    ) -> ScaleView:
        """The numbers by which an autoscaler sets the number of workers; for people with a role, or with METRICS_TOKEN
        as bearer token.

        The backlog is more than 0 as long as a worker has something to do: 0 means that all may stop.
        """
        await require_reader(request, services.metrics_token)
        return await ScaleView.of(services.queues.look_up(name))

    @post("/{name:str}/pause", **OPERATOR, status_code=200, operation_id="pause_queue")
    async def pause(
        self,
        name: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[QueueServices],
        data: JSONBody[PauseRequest | None] = None,
    ) -> QueueView:
        """Let workers take no more jobs of the queue; running jobs and enqueue continue."""
        queue = services.queues.look_up(name)
        asked = data or PauseRequest()
        await queue.pause(asker(request).by(asked.by), asked.why)
        entry = audit_entry(request, "pause", "queue", [name], by=asked.by, queue=name, why=asked.why)
        await services.queues.audit.note(entry)
        return await QueueView.of(queue)

    @post("/{name:str}/resume", **OPERATOR, status_code=200, operation_id="resume_queue")
    async def resume(
        self, name: FromPath[str], request: Request[Any, Any, Any], services: NamedDependency[QueueServices]
    ) -> QueueView:
        """Let workers take jobs of the queue again; no error when it was not paused."""
        queue = services.queues.look_up(name)
        if await queue.resume():
            await services.queues.audit.note(audit_entry(request, "resume", "queue", [name], queue=name))
        return await QueueView.of(queue)
