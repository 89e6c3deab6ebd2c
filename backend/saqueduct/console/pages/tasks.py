"""Tasks: what they do, their options, and a form that enqueues a job."""

import asyncio
import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import available_timezones

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency

from saqueduct.broker.outage import note_silence
from saqueduct.common.clock import time_now
from saqueduct.common.moments import seconds_of
from saqueduct.console.arguments_form import (
    fields_of,
    has_problems,
    has_times,
    read,
    report,
    report_others,
    without_secrets,
)
from saqueduct.console.charts import counts, durations
from saqueduct.console.failing import Failing, failing_arguments
from saqueduct.console.fields import Field
from saqueduct.console.forms import Form
from saqueduct.console.job_options import changed_options
from saqueduct.console.job_rows import newest_of
from saqueduct.console.trends import MONTHLY
from saqueduct.console.view import OPERATOR, View
from saqueduct.errors import DuplicateJob, InvalidArguments, QueueError, QueueUnavailable
from saqueduct.postgres.asked_by import asked_by
from saqueduct.postgres.job_details import JobDetails
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.postgres.search_bounds import indexed_until
from saqueduct.postgres.time_steps import DAY, Trend
from saqueduct.tasks.task import Task

if TYPE_CHECKING:
    from saqueduct.postgres.task_runs import Run

SLOWEST: Final = 5
"""Jobs that the page of a task names."""

RECENT: Final = 7
"""Days in which they are looked for."""

CALL: Final = ("delay", "key", "priority")
"""Fields of the form beside the arguments."""


class TaskPages(Controller):
    """The catalog, and the page of a task."""

    path = "/"

    @get("/tasks")
    async def all_of_them(self, view: NamedDependency[View]) -> Response[str]:
        """Every task."""
        found = sorted(view.registry.get_all_tasks(), key=lambda task: task.name)
        trends = await view.trends.read("tasks", MONTHLY, lambda series: series.summaries(MONTHLY.span(), "task"))
        return await view.page(
            "tasks.html",
            tasks=[(task, changed_options(task), (trends or {}).get(task.name)) for task in found],
            has_history=trends is not None,
        )

    @get("/task", opt={"query": ("name", "key", "queue", "replay")})
    async def show(self, view: NamedDependency[View]) -> Response[str]:
        """A task with the form that enqueues a job; with `key` filled with the arguments of that job."""
        query = view.request.query_params
        task = view.registry.get(query.get("name", ""))
        job = await _of_key(view, query.get("key", ""), query.get("queue") or None)
        fields = fields_of(task, _signed(view, task, {} if job is None else job.arguments or {}))
        return await _page(view, task, fields, job, replay=bool(query.get("replay")))

    @post("/task/enqueue", opt=OPERATOR)
    async def enqueue(self, view: NamedDependency[View]) -> Response[Any]:
        """Enqueue a job with the arguments of the form, validated as a call is; or replay a dead letter with them."""
        form = await view.form()
        task = view.registry.get(form.exact("name"))
        fields = fields_of(task)
        arguments = read(fields, form)
        dead_letter = form.exact("dead_letter")
        call = {name: form.text(name) for name in CALL}
        if has_problems(fields) or _call_problems(task, call):
            report_others(fields, _problems(task, arguments))
            return await _again(view, task, fields, form, call, "")
        try:
            key, queue, created = await _enqueue(view, task, arguments, call, form, dead_letter)
        except InvalidArguments as error:
            return await _again(view, task, fields, form, call, report(fields, error.problems))
        except DuplicateJob as error:
            return await _again(view, task, fields, form, call, str(error))
        except QueueUnavailable as error:
            # The call was made for several requests, and this one must not wait once more.
            note_silence(asyncio.get_running_loop().time() - view.saqueduct.config.timings.answer)
            return await _again(view, task, fields, form, call, str(error), status=503)
        except (QueueError, ValueError, OverflowError) as error:
            return await _again(view, task, fields, form, call, str(error))
        said = "Replayed the dead letter." if dead_letter else "Enqueued the job."
        return view.done(said if created else "This job already exists.", view.url("job", key=key, queue=queue))


class FoundRuns(NamedTuple):
    """What the newest records of a task say."""

    slowest: "Sequence[Run]"
    failing: Sequence[Failing]
    capped: bool
    """True: of the records of today, only the newest of all tasks were read."""


async def _runs(view: View, task: Task[..., Any]) -> FoundRuns | None:
    """None: there are no records, or it would take too long."""
    if not view.keeps_records:
        return None
    # Here: SQLAlchemy takes a while to import, and not every application has a PostgreSQL.
    from saqueduct.postgres.task_runs import TaskRuns
    from saqueduct.record_sessions import transaction

    since = dt.datetime.fromtimestamp(time_now() - RECENT * DAY, dt.UTC)
    indexed = indexed_until(view.saqueduct.config.timings.postgres)
    newest = await newest_of(view, RecordFilter())
    async with transaction(view.saqueduct) as session:
        patience, searched = view.timings.runs, view.sizes.searched_records
        runs = TaskRuns(session, task.name, patience=patience, searched=searched)
        found = await runs.read(since, indexed, SLOWEST)
    if found is None:
        return None
    # Older records may have values that the task redacts by now.
    redacted = task.signature.redacted
    failing = failing_arguments(list(map(redacted, found.failed)), list(map(redacted, found.complete)))
    return FoundRuns(found.slowest, failing, capped=newest is not None and newest > indexed)


async def _month(view: View, task: str) -> Trend | None:
    """The last 30 days of a task."""
    key = ("task", task)
    return await view.trends.read(key, MONTHLY, lambda series: series.trend(MONTHLY.span(), task=task))


async def _of_key(view: View, key: str, queue: str | None) -> JobDetails | None:
    if not key:
        return None
    known = await view.known(key, queue)
    return known.jobs[0][0] if known else None


async def _enqueue(
    view: View, task: Task[..., Any], arguments: dict[str, Any], call: dict[str, str], form: Form, dead_letter: str
) -> tuple[str, str, bool]:
    """Key and queue of the job, and whether it is new."""
    if dead_letter:
        queue = view.queues.look_up(form.exact("queue"))
        async with view.dead_letters() as letters:
            why = form.reason()
            key = await letters.replay(queue.job_id(dead_letter), by=view.person.name, why=why, arguments=arguments)
            await letters.audit.add(view.entry("replay", "dead letter", [dead_letter], queue=queue.name, why=why))
        return key, queue.name, True
    job = await view.queues.enqueue(task.options(**_options(call)), _signed(view, task, arguments))
    if job.created:
        await view.note("enqueue", "job", [job.key], task=task.name, queue=job.get_queue().name)
    return job.key, job.get_queue().name, job.created


def _signed(view: View, task: Task[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, with the person who is signed in where the task notes who asks."""
    return asked_by(task, arguments, view.person.name) if view.person.signed_in else arguments


def _options(call: dict[str, str]) -> dict[str, Any]:
    """Keywords of `Task.options`, where the delay has no problem."""
    options: dict[str, Any] = {name: call[name] for name in ("key", "priority") if call[name]}
    if call["delay"]:
        options["delay"] = seconds_of(call["delay"])
    return options


def _call_problems(task: Task[..., Any], call: dict[str, str]) -> dict[str, str]:
    """What is wrong with the fields beside the arguments, by name; each alone, so that all of it is said at once."""
    found: dict[str, str] = {}
    for name in CALL:
        try:
            task.options(**_options({**dict.fromkeys(CALL, ""), name: call[name]}))
        except (ValueError, OverflowError) as error:
            found[name] = str(error).removeprefix(name).lstrip(": ")
    if call["delay"] and seconds_of(call["delay"]) is None:
        found["delay"] = f"{call['delay']!r} is no duration such as 30s, 5m or 2h"
    return found


def _problems(task: Task[..., Any], arguments: dict[str, Any]) -> Mapping[str, str]:
    """What is wrong with the arguments that could be read."""
    try:
        task.signature.decode(arguments)
    except InvalidArguments as error:
        return error.problems
    return {}


async def _again(
    view: View,
    task: Task[..., Any],
    fields: Sequence[Field],
    form: Form,
    call: dict[str, str],
    problem: str,
    *,
    status: int = 400,
) -> Response[str]:
    """The form once more, with what is wrong."""
    without_secrets(fields)
    job = await _of_key(view, form.exact("dead_letter"), form.exact("queue") or None)
    return await _page(view, task, fields, job, replay=job is not None, call=call, problem=problem, status=status)


@functools.cache
def _zones() -> Sequence[str]:
    """Names of time zones: to list them reads hundreds of files."""
    return sorted(available_timezones())


async def _page(
    view: View,
    task: Task[..., Any],
    fields: Sequence[Field],
    job: JobDetails | None,
    *,
    replay: bool,
    call: dict[str, str] | None = None,
    problem: str = "",
    status: int = 200,
) -> Response[str]:
    month = await _month(view, task.name)
    return await view.page(
        "task.html",
        status,
        month=month,
        charts=[]
        if month is None
        else [
            counts("runs", "Jobs ended", month, MONTHLY.step, ("complete", "failed", "aborted"), time_now()),
            durations("run", "Run time", month, MONTHLY.step, "run"),
            durations("wait", "Wait", month, MONTHLY.step, "wait"),
        ],
        runs=await _runs(view, task),
        searched=view.sizes.searched_records,
        recent=RECENT,
        task=task,
        fields=fields,
        zones=_zones() if has_times(fields) else (),
        options=changed_options(task),
        job=job,
        replay=replay and job is not None,
        call=call or dict.fromkeys(CALL, ""),
        call_problems=_call_problems(task, call) if call else {},
        problem=problem,
        failed=status != 200,
    )
