"""Jobs as the commands show them, out of Redis and out of the records alike, without what their tasks redact."""

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from saq import Job

from app.cli import output
from saqueduct import Queues
from saqueduct.common.clock import time_now
from saqueduct.postgres.models import JobRecord
from saqueduct.queue.redacted_view import error_summary, remembered, shown
from saqueduct.tasks.job_meta import PARENT, REPLAY_OF, SCHEDULE, TAGS, TRACE_ID, put_back


class JobView(msgspec.Struct, kw_only=True):
    """A job, with the same names wherever it was read; null: there is none, or it is not kept there."""

    key: str
    job_id: str
    """The same as `key`."""
    task: str
    queue: str
    status: str
    """SAQ's statuses, and "delayed" for one that waits for its time."""
    attempts: int
    arguments: dict[str, Any]
    result: Any
    error: str | None
    errors: list[dict[str, Any]] = []
    """Attempts that did not complete: attempt, error, worker, `started_at` and `ended_at`, and these as `started` and
    `ended` in epoch milliseconds."""
    progress: float | None = None
    retries: int | None = None
    recoveries: int = 0
    worker: str | None
    queued_at: dt.datetime | None
    due_at: dt.datetime | None = None
    """Before which it does not start."""
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    schedule: str | None
    parent: str | None
    trace_id: str | None
    tags: list[str]
    replay_of: str | None
    resolution: str | None = None
    resolved_at: dt.datetime | None = None
    resolved_by: str | None = None
    resolved_why: str | None = None
    replayed_as: str | None = None


def of_job(job: Job) -> JobView:
    """A job as Redis has it."""
    queue, meta = job.get_queue(), job.meta or {}
    visible = shown(queue, {"function": job.function, "kwargs": job.kwargs, "error": job.error, "result": job.result})
    delayed = job.status.value == "queued" and job.scheduled > time_now()
    return JobView(
        key=job.key,
        job_id=job.key,
        task=job.function,
        queue=queue.name,
        status="delayed" if delayed else job.status.value,
        attempts=job.attempts,
        arguments=visible["kwargs"] or {},
        result=visible["result"],
        error=visible["error"],
        progress=job.progress,
        retries=job.retries,
        recoveries=put_back(meta),
        worker=job.worker_id,
        queued_at=_moment(job.queued),
        due_at=_moment(job.scheduled * 1000) if delayed else None,
        started_at=_moment(job.started),
        ended_at=_moment(job.completed),
        schedule=meta.get(SCHEDULE),
        parent=meta.get(PARENT),
        trace_id=meta.get(TRACE_ID),
        tags=meta.get(TAGS) or [],
        replay_of=meta.get(REPLAY_OF),
    )


def of_record(queues: Queues, record: JobRecord) -> JobView:
    """A job as its record has it; redacted by the present options of its task too."""
    visible = remembered(queues, record)
    return JobView(
        key=record.key,
        job_id=record.key,
        task=record.task,
        queue=record.queue,
        status=record.status,
        attempts=record.attempts,
        arguments=visible["arguments"] or {},
        result=visible["result"],
        error=visible["error"],
        errors=[_attempt(each) for each in visible["errors"] or []],
        recoveries=record.recoveries,
        worker=record.worker,
        queued_at=record.queued_at,
        started_at=record.started_at,
        ended_at=record.ended_at,
        schedule=record.schedule,
        parent=record.parent,
        trace_id=record.trace_id,
        tags=record.tags or [],
        replay_of=record.replay_of,
        resolution=record.resolution,
        resolved_at=record.resolved_at,
        resolved_by=record.resolved_by,
        resolved_why=record.resolved_why,
        replayed_as=record.replayed_as,
    )


def _attempt(entry: dict[str, Any]) -> dict[str, Any]:
    times = {f"{name}_at": _moment(entry.get(name)) for name in ("started", "ended")}
    return {**entry, **times}


def _moment(milliseconds: float | None) -> dt.datetime | None:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC) if milliseconds else None


def listed(jobs: Iterable[JobView], *, dead: bool = False) -> Table:
    """Jobs in a table, a line each, and a second one for the error.

    Args:
        jobs: in order.
        dead: True: all of them are dead letters, which needs no word.
    """
    heads = ("Enqueued", "Key", "Task") if dead else ("Enqueued", "Status", "Key", "Task")
    rows = []
    for job in jobs:
        cells: list[RenderableType | str] = [output.when(job.queued_at), job.key, _task_cell(job)]
        rows.append(cells if dead else [cells[0], output.word(job.status), *cells[1:]])
    return output.table(*heads, rows=rows, fixed=("Enqueued", "Key"))


def _task_cell(job: JobView) -> RenderableType:
    name = output.line(job.task)
    if job.attempts > 1:
        name.append(f"  {job.attempts} attempts", style="dim")
    if job.due_at is not None:
        name.append(f"  due {output.when(job.due_at)}", style="dim")
    if job.status == "active" and job.progress:
        name.append(f"  {job.progress:.0%}", style="dim")
    if not job.error:
        return name
    return Group(name, output.line(brief(job.error), "dim"))


def brief(error: str | None) -> str:
    """Type and message of an error, without the type's module: there is little room in a table."""
    return re.sub(r"^(?:\w+\.)+(?=\w+(?::|$))", "", error_summary(error) or "")


def told(job: JobView, title: str) -> RenderableType:
    """All of a job."""
    head = Text.assemble((output.clean(job.task, one_line=True), "bold"), "  ")
    head.append_text(output.word(job.status)).append(f"  {title}", style="dim")
    parts: list[RenderableType] = [head, output.fields(_pairs(job))]
    if len(job.errors) > 1 or (job.errors and not job.error):
        parts += ["", _attempts(job)]
    if job.error:
        parts += ["", output.block(job.error)]
    return Group(*parts)


def merged(present: JobView | None, waiting: JobView | None, records: Sequence[JobView]) -> list[tuple[JobView, str]]:
    """What Redis and the records know of the jobs of a key, each with where it stands.

    Args:
        present: as Redis has it; None: it does not.
        waiting: as the outbox has it, where Redis does not; None: it does not either.
        records: newest first.
    """
    told_of = [(record, "recorded") for record in records]
    if waiting is not None:
        return [(waiting, "in the outbox"), *told_of]
    if present is None:
        return told_of
    if records and (records[0].status, records[0].ended_at) == (present.status, present.ended_at):
        # The same end twice: the record knows more, but for the attempts that were allowed.
        both = msgspec.structs.replace(records[0], retries=present.retries)
        return [(both, "in Redis, recorded"), *told_of[1:]]
    return [(present, "in Redis"), *told_of]


def _pairs(job: JobView) -> list[tuple[str, RenderableType | str | None]]:
    took = (job.ended_at - job.started_at).total_seconds() if job.ended_at and job.started_at else None
    ended = output.when(job.ended_at) + (f", after {output.lasting(took)}" if took is not None else "")
    attempts = f"{job.attempts} of {job.retries}" if job.retries is not None else str(job.attempts)
    recovered = f", recovered {output.counted(job.recoveries, 'time')}" if job.recoveries else ""
    return [
        ("key", job.key),
        ("queue", job.queue),
        ("enqueued", output.when(job.queued_at)),
        ("due", output.when(job.due_at) or None),
        ("started", output.when(job.started_at) or None),
        ("ended", ended or None),
        ("attempts", attempts + recovered),
        ("progress", output.fraction(job.progress)),
        ("worker", job.worker),
        ("schedule", job.schedule),
        ("parent", job.parent),
        ("trace", job.trace_id),
        ("tags", ", ".join(job.tags) or None),
        ("arguments", output.json_text(job.arguments) if job.arguments else None),
        ("result", output.json_text(job.result) if job.result is not None else None),
        ("replay of", job.replay_of),
        ("resolved", _resolution(job)),
        ("replayed as", job.replayed_as),
    ]


def _resolution(job: JobView) -> str | None:
    if job.resolution is None:
        return None
    why = f": {job.resolved_why}" if job.resolved_why else ""
    return f"{job.resolution} by {job.resolved_by}, {output.when(job.resolved_at)}{why}"


def _attempts(job: JobView) -> Table:
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
                output.line(brief(each.get("error"))),
            )
            for each in job.errors
        ],
        fixed=("Started",),
    )


def _took(started: dt.datetime | None, ended: dt.datetime | None) -> str:
    return output.lasting((ended - started).total_seconds()) if started and ended else ""
