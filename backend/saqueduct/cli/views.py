"""Jobs as the commands show them, from Redis and from the records, without the values that their tasks redact."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from saqueduct.cli import output
from saqueduct.common.clock import time_now
from saqueduct.postgres.job_details import JobDetails
from saqueduct.queue.limit_waits import LimitWait
from saqueduct.queue.redacted_view import brief_error
from saqueduct.tasks.handle import JobHandle
from saqueduct.tasks.job import EngineJob


def show_enqueued(job: EngineJob | JobHandle[Any], *, as_json: bool) -> None:
    """Print the key of a job that was enqueued, or that exists already."""
    data = {"key": job.key, "job_id": job.key, "created": job.created}
    text = f"enqueued {job.key}" if job.created else f"exists already: {job.key}"
    output.answer(data, text, as_json=as_json)


def listed(jobs: Iterable[JobDetails], *, dead: bool = False) -> Table:
    """Jobs in a table, a line each, and a second one for the error.

    Args:
        jobs: in order.
        dead: True: all of them are dead letters, so that this is not repeated.
    """
    heads = ("Enqueued", "Key", "Task") if dead else ("Enqueued", "Status", "Key", "Task")
    rows = []
    for job in jobs:
        cells: list[RenderableType | str] = [output.when(job.queued_at), job.key, _task_cell(job)]
        rows.append(cells if dead else [cells[0], output.word(job.status), *cells[1:]])
    return output.table(*heads, rows=rows, fixed=("Enqueued", "Key"))


def _task_cell(job: JobDetails) -> RenderableType:
    name = output.line(job.task)
    if job.attempts > 1:
        name.append(f"  {job.attempts} attempts", style="dim")
    if (due := _due(job)) is not None:
        name.append(f"  due {output.when(due)}", style="dim")
    if job.status == "active" and job.progress:
        name.append(f"  {job.progress:.0%}", style="dim")
    if not job.error:
        return name
    return Group(name, output.line(brief_error(job.error), "dim"))


def _due(job: JobDetails) -> dt.datetime | None:
    """When a job that waits for its time may start."""
    waits = job.status in ("new", "queued") and job.due_at is not None and job.due_at.timestamp() > time_now()
    return job.due_at if waits else None


def described(job: JobDetails, title: str) -> RenderableType:
    """All details of a job."""
    head = Text.assemble((output.clean(job.task, one_line=True), "bold"), "  ")
    head.append_text(output.word(job.status)).append(f"  {title}", style="dim")
    parts: list[RenderableType] = [head, output.fields(_pairs(job))]
    parts += map(_wait, job.waits_for)
    if len(job.errors) > 1 or (job.errors and not job.error):
        parts += ["", _attempts(job)]
    if job.error:
        parts += ["", output.block(job.error)]
    if job.logs:
        parts += ["", output.block("\n".join(map(_log_line, job.logs)))]
    return Group(*parts)


def _pairs(job: JobDetails) -> list[tuple[str, RenderableType | str | None]]:
    took = (job.ended_at - job.started_at).total_seconds() if job.ended_at and job.started_at else None
    ended = output.when(job.ended_at) + (f", after {output.lasting(took)}" if took is not None else "")
    attempts = f"{job.attempts} of {job.retries}" if job.retries is not None else str(job.attempts)
    recovered = f", recovered {output.counted(job.recoveries, 'time')}" if job.recoveries else ""
    return [
        ("key", job.key),
        ("queue", job.queue),
        ("enqueued", output.when(job.queued_at)),
        ("due", output.when(_due(job)) or None),
        ("started", output.when(job.started_at) or None),
        ("ended", ended or None),
        ("attempts", attempts + recovered),
        ("progress", output.fraction(job.progress)),
        ("worker", job.worker),
        ("schedule", job.schedule),
        ("parent", job.parent),
        ("trace", job.trace_id),
        ("attempt's trace", job.attempt_trace_id if job.attempt_trace_id != job.trace_id else None),
        ("tags", ", ".join(job.tags) or None),
        ("arguments", output.json_text(job.arguments) if job.arguments else None),
        ("result", output.json_text(job.result) if job.result is not None else None),
        ("replay of", job.replay_of),
        ("resolved", _resolution(job)),
        ("replayed as", job.replayed_as),
    ]


def _log_line(line: dict[str, Any]) -> str:
    return f"{line['attempt']}  {output.when(line['at'])}  {line['level']:<8} {line['text']}  [{line['logger']}]"


def _resolution(job: JobDetails) -> str | None:
    if job.resolution is None:
        return None
    why = f": {job.resolved_why}" if job.resolved_why else ""
    return f"{job.resolution} by {job.resolved_by}, {output.when(job.resolved_at)}{why}"


def _wait(wait: LimitWait) -> RenderableType:
    text = output.clean(wait.text, one_line=True)
    return output.line(f"passes {text}", "dim") if wait.open else output.line(f"waits for {text}", "yellow")


def _attempts(job: JobDetails) -> Table:
    return output.table(
        "Attempt#",
        "Started",
        "Took#",
        "Error",
        rows=[
            (
                str(each["attempt"]),
                output.when(each["started_at"]),
                _took(each["started_at"], each["ended_at"]),
                output.line(brief_error(each.get("error"))),
            )
            for each in job.errors
        ],
        fixed=("Started",),
    )


def _took(started: dt.datetime | None, ended: dt.datetime | None) -> str:
    return output.lasting((ended - started).total_seconds()) if started and ended else ""
