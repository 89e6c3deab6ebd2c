"""The queue over HTTP: the catalogue of tasks, enqueue by name, and jobs by key."""

from typing import Annotated, Any

import msgspec
from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, Response, delete, get, post
from litestar.exceptions import ValidationException
from litestar.params import FromPath, QueryParameter
from saq import Job

from app.queue.engine.queues import Queues
from app.queue.errors import InvalidArguments
from app.queue.registry import get_registry
from app.queue.schedule import Schedule
from app.queue.task import Task

ADMIN: dict[str, Any] = {
    "opt": {"admin": True},
    "security": [{"AdminBasic": []}, {"AdminToken": []}],
}
"""Arguments of a handler that only the admin may call: the application's guard looks for the option."""


class Enqueued(msgspec.Struct):
    """Answer of a route that enqueued a job."""

    job_id: str
    """The job's key, for `GET /jobs/{key}`."""
    created: bool = True
    """False when a unique job of the same arguments stands already, and this is its key."""


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
            every=schedule.every,
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


class JobView(msgspec.Struct):
    """A job as it stands. Times are epoch milliseconds, 0 where it has not come to that."""

    job_id: str
    task: str
    queue: str
    status: str
    attempts: int
    retries: int
    progress: float
    """0.0 to 1.0, as the job reports it."""
    queued: int
    started: int
    completed: int
    scheduled: int
    """Epoch seconds before which it does not start; 0: at once."""
    result: Any
    error: str | None
    """Type and message of the last error; the traceback is in the worker's log and in the SAQ UI."""

    @classmethod
    def of(cls, job: Job) -> "JobView":
        return cls(
            job_id=job.key,
            task=job.function,
            queue=job.get_queue().name,
            status=job.status.value,
            attempts=job.attempts,
            retries=job.retries,
            progress=job.progress,
            queued=job.queued,
            started=job.started,
            completed=job.completed,
            scheduled=job.scheduled,
            result=job.result,
            error=error_summary(job.error),
        )


class TaskController(Controller):
    """The catalogue, and enqueue by name."""

    path = "/tasks"
    tags = ("Tasks",)

    @get()
    async def catalogue(self) -> list[TaskView]:
        """Every task: name, documentation, parameters as JSON Schema, schedules, queue, options."""
        return [TaskView.of(task) for task in get_registry().get_all_tasks()]

    @post("/{name:str}", **ADMIN)
    @inject
    async def enqueue(
        self, name: FromPath[str], request: Request[Any, Any, Any], queues: FromDishka[Queues]
    ) -> Response[Enqueued]:
        """Enqueue a job of the task `name`; the body is a JSON object of its arguments."""
        get_registry().get(name)
        return _created(await queues.enqueue(name, await _arguments(request, name)))


class JobController(Controller):
    """Jobs by key."""

    path = "/jobs/{key:str}"
    tags = ("Jobs",)

    @get()
    @inject
    async def show(self, key: FromPath[str], queues: FromDishka[Queues]) -> JobView:
        """The job as it stands."""
        return JobView.of(await queues.find(key))

    @delete(**ADMIN, status_code=202)
    @inject
    async def abort(self, key: FromPath[str], queues: FromDishka[Queues]) -> JobView:
        """Abort the job: a waiting one ends at once, a running one within about a second."""
        return JobView.of(await queues.abort(key))

    @post("/retry", **ADMIN, status_code=202)
    @inject
    async def retry(self, key: FromPath[str], queues: FromDishka[Queues]) -> JobView:
        """Queue a job that has ended once more, with the same arguments."""
        return JobView.of(await queues.retry(key))


@post("/process", tags=["Tasks"])
@inject
async def process(
    request: Request[Any, Any, Any],
    queues: FromDishka[Queues],
    user_id: Annotated[int | None, QueryParameter(description='or in a JSON body: {"user_id": 1}')] = None,
) -> Response[Enqueued]:
    """Enqueue the task `my_task` for a user."""
    arguments = {"user_id": user_id} if user_id is not None else await _arguments(request, "my_task")
    return _created(await queues.enqueue("my_task", arguments))


def error_summary(error: str | None) -> str | None:
    """Type and message out of a traceback; other texts stay as they are.

    >>> error_summary('Traceback (most recent call last):\\n  File "x.py", line 1, in f\\n    g()\\nKeyError: 1')
    'KeyError: 1'
    """
    if not error or "Traceback (most recent call last)" not in error:
        return error
    lines = error.rstrip().splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    after = frames[-1] + 1 if frames else 1
    while after < len(lines) and lines[after].startswith("    "):
        after += 1
    return "\n".join(lines[after:]) or lines[-1]


def _created(job: Job) -> Response[Enqueued]:
    created = getattr(job, "created", True)
    location = {"Location": f"/jobs/{job.key}"}
    return Response(Enqueued(job.key, created), status_code=201 if created else 200, headers=location)


async def _arguments(request: Request[Any, Any, Any], task: str) -> dict[str, Any]:
    body = await request.body()
    try:
        arguments = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValidationException(f"the body is not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise InvalidArguments(task, {"body": "must be a JSON object, one member an argument"})
    return arguments
