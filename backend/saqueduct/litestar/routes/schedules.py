"""Schedules: how they stand, pausing, resuming and triggering."""

import msgspec
from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody

from saqueduct.litestar.routes.answers import ADMIN, Enqueued, PauseRequest, created
from saqueduct.litestar.routes.links import JobLinks
from saqueduct.queue.pausing import Pause
from saqueduct.queue.queues import Queues
from saqueduct.queue.schedule_states import ScheduleState


class ScheduleStateView(msgspec.Struct):
    """A schedule as it stands; how it is declared, `GET /tasks` tells."""

    key: str
    task: str
    queue: str
    timing: str
    next_tick: float | None
    """Epoch seconds; null: no worker has declared the schedule yet."""
    last_job: str | None
    """Key of the last job made of it."""
    paused: Pause | None

    @classmethod
    def of(cls, state: ScheduleState) -> "ScheduleStateView":
        return cls(
            key=state.key,
            task=state.task,
            queue=state.queue,
            timing=state.timing,
            next_tick=state.next_tick,
            last_job=state.last_job,
            paused=state.paused,
        )


class ScheduleController(Controller):
    """Schedules by key."""

    path = "/schedules"
    tags = ("Schedules",)

    @get(**ADMIN)
    @inject
    async def all_of_them(self, queues: FromDishka[Queues]) -> list[ScheduleStateView]:
        """Every schedule of the tasks."""
        return [ScheduleStateView.of(state) for state in await queues.schedules()]

    @post("/{key:str}/pause", **ADMIN, status_code=200)
    @inject
    async def pause(
        self, key: FromPath[str], queues: FromDishka[Queues], data: JSONBody[PauseRequest | None] = None
    ) -> ScheduleStateView:
        """Let no tick of the schedule make a job; those that come due meanwhile are skipped."""
        asked = data or PauseRequest()
        await queues.pause_schedule(key, asked.by, asked.why)
        return await _show(queues, key)

    @post("/{key:str}/resume", **ADMIN, status_code=200)
    @inject
    async def resume(self, key: FromPath[str], queues: FromDishka[Queues]) -> ScheduleStateView:
        """Let the ticks of the schedule make jobs again; no error when it was not paused."""
        await queues.resume_schedule(key)
        return await _show(queues, key)

    @post("/{key:str}/trigger", **ADMIN)
    @inject
    async def trigger(
        self, key: FromPath[str], queues: FromDishka[Queues], links: FromDishka[JobLinks]
    ) -> Response[Enqueued]:
        """Make a job of the schedule now, with its arguments; its ticks stay as they are."""
        return created(await queues.trigger_schedule(key), links)


async def _show(queues: Queues, key: str) -> ScheduleStateView:
    return next(ScheduleStateView.of(state) for state in await queues.schedules() if state.key == key)
