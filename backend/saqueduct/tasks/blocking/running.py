"""Runs a task in this process: validated, injected and with a result as by a worker, but without a queue."""

import dataclasses
from typing import Any, TypeVar, cast

from saq import Job
from saq.job import Status
from saq.types import Context
from saq.utils import now

from saqueduct.injection.injector import Injector
from saqueduct.tasks.bulk import Call
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.queues import TaskQueue

R = TypeVar("R")


class JobHere(EngineJob):
    """The job of a run without a queue: its updates stay in this process."""

    async def update(self, **kwargs: Any) -> None:
        for name, value in kwargs.items():
            setattr(self, name, value)


async def run_here(call: Call[R], injector: Injector | None, queue: TaskQueue) -> R:
    """Run the function of a call once; the result has the type that the function declares.

    The time limit and the retries of the task are not applied.

    Args:
        call: the validated call.
        injector: for the parameters that are injected; None: there are none.
        queue: the queue in the context, so that the task can enqueue other jobs.

    Raises:
        Exception: any exception of the function, or of closing an injected object.
    """
    job = _active(call.job, queue)
    ctx = {"job": job, "queue": queue, "injector": injector, "container": injector and injector.container}
    result = await call.task.runner(cast("Context", ctx), **(job.kwargs or {}))
    return cast("R", call.task.signature.decode_result(result))


def _active(job: Job, queue: TaskQueue) -> JobHere:
    """The job as it is during its first attempt on a worker."""
    fields = {field.name: getattr(job, field.name) for field in dataclasses.fields(Job)}
    began = now()
    held = {"queue": queue, "status": Status.ACTIVE, "attempts": 1, "queued": began, "started": began}
    return JobHere(**{**fields, **held})
