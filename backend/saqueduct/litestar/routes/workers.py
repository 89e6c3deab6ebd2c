"""Workers: the live processes, pausing and resuming one."""

from typing import Any

import msgspec
from litestar import Controller, Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from saqueduct.litestar.audit import audit_entry
from saqueduct.litestar.routes.answers import OPERATOR, VIEWER, PauseRequest, asker
from saqueduct.litestar.services import QueueServices
from saqueduct.queue.pausing import Pause
from saqueduct.queue.worker_health import Condition
from saqueduct.queue.workers import WorkerOfQueue, WorkerProcess


class WorkerQueueView(msgspec.Struct):
    """What a worker has for one queue."""

    id: str
    queue: str
    slots: int
    busy: int
    """Slots in use."""
    condition: Condition

    @classmethod
    def of(cls, part: WorkerOfQueue) -> "WorkerQueueView":
        state = part.report.state
        return cls(part.report.worker, part.queue, state.slots, state.slots - state.free, part.report.condition)


class WorkerView(msgspec.Struct):
    """A live worker process, as it last reported."""

    id: str
    host: str
    pid: int
    version: str
    """Of the application's code; empty: it does not say."""
    reported_at: float
    """Epoch seconds."""
    memory_bytes: int
    """Resident; 0: unknown."""
    cpu: float
    """Share of one core."""
    lag_seconds: float
    """The longest time in the last half minute that its event loop took to answer."""
    paused: Pause | None
    """Who has asked it to take no jobs."""
    takes_jobs: bool
    """False as soon as it knows of that."""
    queues: list[WorkerQueueView]

    @classmethod
    def of(cls, process: WorkerProcess) -> "WorkerView":
        newest = process.newest
        return cls(
            id=process.id,
            host=newest.state.host,
            pid=newest.state.pid,
            version=newest.state.version,
            reported_at=newest.at,
            memory_bytes=newest.state.memory,
            cpu=newest.state.cpu,
            lag_seconds=newest.state.lag,
            paused=process.paused,
            takes_jobs=not process.rests,
            queues=[WorkerQueueView.of(part) for part in process.parts],
        )


class WorkerController(Controller):
    """Live workers by id."""

    path = "/workers"
    tags = ("Workers",)

    @get(**VIEWER, operation_id="list_workers")
    async def all_of_them(self, services: NamedDependency[QueueServices]) -> list[WorkerView]:
        """Every live worker process."""
        return [WorkerView.of(process) for process in await services.queues.workers.processes()]

    @post("/{worker:str}/pause", **OPERATOR, status_code=200, operation_id="pause_worker")
    async def pause(
        self,
        worker: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[QueueServices],
        data: JSONBody[PauseRequest | None] = None,
    ) -> WorkerView:
        """Ask the worker to take no more jobs, until it is resumed or ends; what it runs continues."""
        asked = data or PauseRequest()
        process = await services.queues.workers.pause(worker, asker(request).by(asked.by), asked.why)
        entry = audit_entry(request, "pause", "worker", [process.id], by=asked.by, why=asked.why)
        await services.queues.audit.note(entry)
        return WorkerView.of(process)

    @post("/{worker:str}/resume", **OPERATOR, status_code=200, operation_id="resume_worker")
    async def resume(
        self, worker: FromPath[str], request: Request[Any, Any, Any], services: NamedDependency[QueueServices]
    ) -> WorkerView:
        """Let the worker take jobs again; no error when it was not paused."""
        if await services.queues.workers.resume(worker):
            await services.queues.audit.note(audit_entry(request, "resume", "worker", [worker]))
        return WorkerView.of(await services.queues.workers.find(worker))
