"""Runs a task here and now: validated, injected and with a result as a worker would, but without a queue."""

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
    """The job of a run that no queue knows: what it tells of itself stays here."""

    async def update(self, **kwargs: Any) -> None:
        for name, value in kwargs.items():
            setattr(self, name, value)


async def run_here(call: Call[R], injector: Injector | None, queue: TaskQueue) -> R:
    """Run the function of a call once; the result has the type that the function declares.

    Neither the time limit nor the retries of the task count here.

    Args:
        call: validated.
        injector: for the parameters that are injected; None: there are none.
        queue: which the context holds, so that the task can enqueue others.

    Raises:
        Exception: what the function raises, or the close of what it was injected.
    """
    job = _active(call.job, queue)
    ctx = {"job": job, "queue": queue, "injector": injector, "container": injector and injector.container}
    result = await call.task.runner(cast("Context", ctx), **(job.kwargs or {}))
    return cast("R", call.task.signature.decode_result(result))


def _active(job: Job, queue: TaskQueue) -> JobHere:
    """The job as a worker holds it in its first attempt."""
    fields = {field.name: getattr(job, field.name) for field in dataclasses.fields(Job)}
    began = now()
    held = {"queue": queue, "status": Status.ACTIVE, "attempts": 1, "queued": began, "started": began}
    return JobHere(**{**fields, **held})
