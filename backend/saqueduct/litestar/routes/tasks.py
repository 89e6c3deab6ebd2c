"""The catalog of tasks, and enqueue by name."""

from typing import Any

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from saqueduct.common.people import Person
from saqueduct.litestar.audit import audit_entry
from saqueduct.litestar.routes.answers import OPERATOR, VIEWER, EnqueuedJob, asker
from saqueduct.litestar.routes.batches import EnqueuedBatch, batch
from saqueduct.litestar.routes.enqueuing import QUERY, answer, arguments_of, asked, body_of, enqueue, with_options
from saqueduct.litestar.services import QueueServices
from saqueduct.postgres.asked_by import asked_by
from saqueduct.schedules.schedule import Schedule
from saqueduct.tasks.task import Task


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
    """A task as the catalog shows it."""

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


ENQUEUE: dict[str, Any] = {
    "opt": {**OPERATOR["opt"], "reads_body": True, "takes_idempotency_key": True, "query": QUERY},
    "security": OPERATOR["security"],
}
ENQUEUE_BATCH: dict[str, Any] = {
    "opt": {
        **OPERATOR["opt"],
        "reads_body": True,
        "takes_idempotency_key": True,
        "query": tuple(name for name in QUERY if name != "wait"),
    },
    "security": OPERATOR["security"],
}


class TaskCatalogController(Controller):
    """The catalog, and enqueue by name."""

    path = "/tasks"
    tags = ("Tasks",)

    @get(**VIEWER, operation_id="list_tasks")
    async def catalogue(self, services: NamedDependency[QueueServices]) -> list[TaskView]:
        """Every task: name, documentation, parameters as JSON Schema, schedules, queue, options."""
        return [TaskView.of(task) for task in services.registry.get_all_tasks()]

    @post("/{name:str}", **ENQUEUE, operation_id="enqueue_task")
    async def enqueue(
        self,
        name: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[QueueServices],
    ) -> Response[EnqueuedJob]:
        """Enqueue a job of the task `name`; the body is a JSON object of its arguments."""
        query = asked(request)
        task = with_options(services.registry.get(name), query)
        arguments = arguments_of(await body_of(request), name)
        signed = _signed(task, arguments, asker(request))
        made = await enqueue(task, signed, query, services.queues, services.links)
        if made.new:
            _note(request, services, task, [made.key])
        return await answer(made, query, services.queues, services.links, whole=True)

    @post("/{name:str}/batch", **ENQUEUE_BATCH, operation_id="enqueue_batch")
    async def enqueue_batch(
        self,
        name: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[QueueServices],
    ) -> Response[EnqueuedBatch]:
        """Enqueue a job of the task for each set of arguments in a JSON array: all of them, or none."""
        query, task = asked(request), services.registry.get(name)
        content = await body_of(request)
        if isinstance(content, list):
            content = [_signed(task, each, asker(request)) for each in content]
        made = await batch(task, content, query, services.queues, services.links)
        if keys := [each.key for each in made.jobs if each.created]:
            _note(request, services, task, keys)
        return Response(made, status_code=201)


def _note(request: Request[Any, Any, Any], services: QueueServices, task: Task[..., Any], keys: list[str]) -> None:
    # Programs enqueue often: they do not wait for it.
    services.queues.audit.note_soon(
        audit_entry(request, "enqueue", "job", keys, count=len(keys), task=task.name, queue=task.queue_name)
    )


def _signed(task: Task[..., Any], arguments: Any, person: Person) -> Any:
    """The arguments of a job, with the person who asked where its task notes that."""
    signs = person.signed_in and isinstance(arguments, dict)
    return asked_by(task, arguments, person.name) if signs else arguments
