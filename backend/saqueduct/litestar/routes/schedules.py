"""Schedules: their state, pausing, resuming and triggering."""

from typing import Any

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from saqueduct.litestar.audit import audit_entry
from saqueduct.litestar.routes.answers import OPERATOR, VIEWER, EnqueuedJob, PauseRequest, asker, created
from saqueduct.litestar.services import QueueServices
from saqueduct.queue.queues import Queues
from saqueduct.queue.schedule_states import ScheduleState


class ScheduleController(Controller):
    """Schedules by key."""

    path = "/schedules"
    tags = ("Schedules",)

    @get(**VIEWER, operation_id="list_schedules")
    async def all_of_them(self, services: NamedDependency[QueueServices]) -> list[ScheduleState]:
        """Every schedule of the tasks."""
        return await services.queues.schedules()

    @post("/{key:str}/pause", **OPERATOR, status_code=200, operation_id="pause_schedule")
    async def pause(
        self,
        key: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[QueueServices],
        data: JSONBody[PauseRequest | None] = None,
    ) -> ScheduleState:
        """Let no tick of the schedule make a job; those that come due meanwhile are skipped."""
        asked = data or PauseRequest()
        await services.queues.pause_schedule(key, asker(request).by(asked.by), asked.why)
        entry = audit_entry(request, "pause", "schedule", [key], by=asked.by, why=asked.why)
        await services.queues.audit.note(entry)
        return await _show(services.queues, key)

    @post("/{key:str}/resume", **OPERATOR, status_code=200, operation_id="resume_schedule")
    async def resume(
        self, key: FromPath[str], request: Request[Any, Any, Any], services: NamedDependency[QueueServices]
    ) -> ScheduleState:
        """Let the ticks of the schedule make jobs again; no error when it was not paused."""
        if await services.queues.resume_schedule(key):
            await services.queues.audit.note(audit_entry(request, "resume", "schedule", [key]))
        return await _show(services.queues, key)

    @post("/{key:str}/trigger", **OPERATOR, operation_id="trigger_schedule")
    async def trigger(
        self, key: FromPath[str], request: Request[Any, Any, Any], services: NamedDependency[QueueServices]
    ) -> Response[EnqueuedJob]:
        """Make a job of the schedule now, with its arguments; its ticks stay as they are."""
        job = await services.queues.trigger_schedule(key)
        if job.created:
            entry = audit_entry(request, "trigger", "schedule", [key, job.key], task=job.function)
            await services.queues.audit.note(entry)
        return created(job, services.links)


async def _show(queues: Queues, key: str) -> ScheduleState:
    return next(state for state in await queues.schedules() if state.key == key)
