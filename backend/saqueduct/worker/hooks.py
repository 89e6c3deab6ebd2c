"""Hooks of every worker: what a job's context and its log lines carry."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from saq.types import Context

from saqueduct.injection.injector import Injector
from saqueduct.tasks import current_job
from saqueduct.tasks.log_context import events


async def give_queue(ctx: Context) -> None:
    """Startup: `ctx["queue"]`. Each job's context is a copy of the worker's, so this reaches all tasks."""
    ctx["queue"] = ctx["worker"].queue


def give_injector(injector: Injector | None) -> Callable[[Any], Awaitable[None]]:
    """Startup: `ctx["injector"]`, and `ctx["container"]` of dishka for tasks that look things up themselves."""

    async def give(ctx: Any) -> None:
        if injector is not None:
            ctx["injector"], ctx["container"] = injector, injector.container

    return give


async def bind_log_context(ctx: Context) -> None:
    """Before a job: every line that it logs names the job, see `log_context`. At DEBUG its start is logged."""
    job = ctx["job"]
    current_job.job.set(job)
    if events.isEnabledFor(logging.DEBUG):
        # In the text too: the usual formats of `logging` show no fields.
        events.debug("job %s of %s started", job.key, job.function)


async def clear_log_context(ctx: Context) -> None:
    """After a job. At DEBUG, logs the attempt's outcome and its duration in seconds."""
    if events.isEnabledFor(logging.DEBUG):
        job = ctx["job"]
        # A job that gets another attempt no longer has a start time.
        took = {"seconds": (job.completed - job.started) / 1000} if job.completed else {}
        events.debug(
            "job %s of %s ended: %s",
            job.key,
            job.function,
            job.status.value,
            extra={"status": job.status.value, **took},
        )
    current_job.job.set(None)
