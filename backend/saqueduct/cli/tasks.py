"""`tasks`: list tasks, and enqueue jobs by name."""

from typing import Any

import click
import msgspec
from rich.console import Group, RenderableType
from saq.job import TERMINAL_STATUSES

from saqueduct.application import Saqueduct
from saqueduct.cli import options, output, views
from saqueduct.cli.audit import entry
from saqueduct.cli.connection import connected, only_warnings
from saqueduct.cli.failures import Failure
from saqueduct.cli.nouns import Nouns
from saqueduct.cli.target import target
from saqueduct.common.strict_json import RepeatedMember, decode
from saqueduct.errors import InvalidArguments, UnknownTask
from saqueduct.tasks.bulk import Call, enqueue_many
from saqueduct.tasks.handle import JobHandle
from saqueduct.tasks.options import TaskOptions
from saqueduct.tasks.registry import TaskRegistry
from saqueduct.tasks.task import Task

PLAIN = TaskOptions().described()
"""The options of a task that sets none."""


@click.group(cls=Nouns)
def tasks() -> None:
    """List the tasks, and enqueue jobs of them."""


@tasks.command("list")
@options.as_json
def list_tasks(*, as_json: bool) -> None:
    """List the tasks: queue, schedules, what they do, options that differ from the defaults."""
    with only_warnings():
        found = sorted(target().registry.get_all_tasks(), key=lambda task: task.name)
    if as_json:
        output.emit({"tasks": [_described(task) for task in found]})
        return
    rows = [(task.name, task.queue_name, _schedules(task), _doc(task)) for task in found]
    output.show(output.table("Task", "Queue", "Schedule", "Does", rows=rows, fixed=("Task", "Queue", "Schedule")))


def _described(task: Task[..., Any]) -> dict[str, Any]:
    schedules = [{"key": schedule.key, "timing": schedule.timing} for schedule in task.schedules]
    return {
        "name": task.name,
        "queue": task.queue_name,
        "doc": _first_line(task),
        "parameters": task.signature.json_schema(),
        "schedules": schedules,
        "options": task.defaults.described(),
    }


def _first_line(task: Task[..., Any]) -> str:
    return task.doc.partition("\n")[0]


def _schedules(task: Task[..., Any]) -> str | RenderableType:
    return Group(*(output.line(schedule.timing) for schedule in task.schedules))


def _doc(task: Task[..., Any]) -> RenderableType:
    differing = {name: value for name, value in task.defaults.described().items() if value != PLAIN[name]}
    shown = " ".join(f"{name}={_option(value)}" for name, value in differing.items())
    lines = [output.line(text, style) for text, style in ((_first_line(task), ""), (shown, "dim")) if text]
    return Group(*lines)


def _option(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else output.json_text(value).strip('"')


@tasks.command()
@click.argument("name")
@click.argument("arguments", metavar="[JSON | NAME=VALUE]...", nargs=-1)
@click.option("--delay", type=options.Duration(), help="Start after that time: 30s, 2h.")
@click.option("--key", help="The job's key; while a job of it waits or runs, no other is made.")
@click.option("--queue", help="Another queue than the task's.")
@click.option("--wait", is_flag=True, help="Wait for the job's end, and print its result.")
@click.option(
    "--timeout", "patience", type=options.Duration(), default=60.0, show_default="60s", help="How long to wait."
)
@options.as_json
@connected
async def enqueue(
    saqueduct: Saqueduct,
    name: str,
    arguments: tuple[str, ...],
    *,
    delay: float | None,
    key: str | None,
    queue: str | None,
    wait: bool,
    patience: float,
    as_json: bool,
) -> None:
    """Enqueue a job of a task, with arguments as one JSON object or as name=value."""
    registry = saqueduct.registry
    if name not in registry:
        raise UnknownTask(name, [task.name for task in registry.get_all_tasks()])
    if queue is not None:
        saqueduct.queues.look_up(queue)
    task = registry.get(name).options(delay=delay, key=key, queue=queue)
    call: Call[Any] = task.call(_arguments(registry, name, arguments))
    [job] = await enqueue_many([call])
    if job.created:
        await saqueduct.queues.audit.note(entry("enqueue", "job", [job.key], task=name, queue=task.queue_name))
    if wait:
        await _show_result(saqueduct, job, patience, as_json=as_json)
    else:
        views.show_enqueued(job, as_json=as_json)


def _arguments(registry: TaskRegistry, task: str, words: tuple[str, ...]) -> dict[str, Any]:
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            decoded = decode(words[0])
        except (msgspec.DecodeError, RepeatedMember) as error:
            raise InvalidArguments(task, {"JSON": str(error)}) from None
        return dict(decoded)
    return options.arguments_of(registry, task, [options.Pair().convert(text, None, None) for text in words])


async def _show_result(saqueduct: Saqueduct, job: JobHandle[Any], patience: float, *, as_json: bool) -> None:
    output.note(f"enqueued {job.key}")
    with output.bar("running", 1.0) as bar:
        try:
            result = await job.result(patience)
        except TimeoutError:
            raise Failure(await _why_not(saqueduct, job, patience)) from None
        bar.reach(1.0)
    encoded = msgspec.to_builtins(result)
    data = {"key": job.key, "job_id": job.key, "created": job.created, "result": encoded}
    output.answer(data, output.json_text(encoded), as_json=as_json)


async def _why_not(saqueduct: Saqueduct, job: JobHandle[Any], patience: float) -> str:
    """The message for a job that has not ended in time."""
    present = await job.refresh()
    queue = saqueduct.queues.get(present.get_queue().name)
    stats = await queue.stats()
    how = "has just ended" if present.status in TERMINAL_STATUSES else f"is {present.status.value}"
    reason = ", its queue is paused" if stats.paused else "" if stats.workers else ", no worker of its queue is live"
    return (
        f"the job {job.key!r} has not ended within {output.lasting(patience)}: it {how}{reason}; "
        f"it goes on; see `jobs show {job.key}`"
    )
