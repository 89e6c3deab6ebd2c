"""The catalogue of tasks, and enqueue by name."""

from typing import Annotated, Any

import msgspec
from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, Response, get, post
from litestar.exceptions import ValidationException
from litestar.params import FromPath, QueryParameter

from app.queue.engine.queues import Queues
from app.queue.errors import InvalidArguments
from app.queue.registry import get_registry
from app.queue.routes.answers import ADMIN, Enqueued, created
from app.queue.routes.links import JobLinks
from app.queue.schedule import Schedule
from app.queue.task import Task


class ScheduleView(msgspec.Struct):
    """A schedule of a task."""

    key: str
    cron: str | None
    every: float | None
    """Seconds between two ticks, in place of `cron`."""
    timezone: str | None
    """In which `cron` is read; null: WORKER_CRON_TIMEZONE."""
    catch_up: str
    overlap: str
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, task: Task[..., Any], schedule: Schedule) -> "ScheduleView":
        return cls(
            key=schedule.key,
            cron=schedule.cron,
            every=schedule.interval,
            timezone=schedule.timezone,
            catch_up=schedule.catch_up,
            overlap=schedule.overlap,
            kwargs=task.signature.redacted(task.signature.encode(schedule.kwargs)),
        )


class TaskView(msgspec.Struct):
    """A task as the catalogue shows it."""

    name: str
    doc: str
    queue: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments."""
    schedules: list[ScheduleView]
    options: dict[str, Any]

    @classmethod
    def of(cls, task: Task[..., Any]) -> "TaskView":
        return cls(
            name=task.name,
            doc=task.doc,
            queue=task.queue_name,
            parameters=task.signature.json_schema(),
            schedules=[ScheduleView.of(task, schedule) for schedule in task.schedules],
            options=task.defaults.described(),
        )


class TaskController(Controller):
    """The catalogue, and enqueue by name."""

    path = "/tasks"
    tags = ("Tasks",)

    @get(**ADMIN)
    async def catalogue(self) -> list[TaskView]:
        """Every task: name, documentation, parameters as JSON Schema, schedules, queue, options."""
        return [TaskView.of(task) for task in get_registry().get_all_tasks()]

    @post("/{name:str}", opt={**ADMIN["opt"], "reads_body": True}, security=ADMIN["security"])
    @inject
    async def enqueue(
        self,
        name: FromPath[str],
        request: Request[Any, Any, Any],
        queues: FromDishka[Queues],
        links: FromDishka[JobLinks],
    ) -> Response[Enqueued]:
        """Enqueue a job of the task `name`; the body is a JSON object of its arguments."""
        get_registry().get(name)
        return created(await queues.enqueue(name, await _arguments(request, name)), links)


@post("/process", tags=["Tasks"], opt={"reads_body": True})
@inject
async def process(
    request: Request[Any, Any, Any],
    queues: FromDishka[Queues],
    links: FromDishka[JobLinks],
    user_id: Annotated[int | None, QueryParameter(description='or in a JSON body: {"user_id": 1}')] = None,
) -> Response[Enqueued]:
    """Enqueue the task `my_task` for a user."""
    arguments = {"user_id": user_id} if user_id is not None else await _arguments(request, "my_task")
    return created(await queues.enqueue("my_task", arguments), links)


async def _arguments(request: Request[Any, Any, Any], task: str) -> dict[str, Any]:
    body = await request.body()
    try:
        arguments = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValidationException(f"the body is not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise InvalidArguments(task, {"body": "must be a JSON object, one member an argument"})
    return arguments
