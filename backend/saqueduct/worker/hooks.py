"""Hooks of every worker: what a job's context and its log lines carry."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from saq.types import Context

from saqueduct.injection.injector import Injector
from saqueduct.tasks import current_job

events = logging.getLogger("saqueduct.jobs")
"""At DEBUG a line at the start and the end of each attempt: successful jobs are not logged by default."""


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
    """Before a job: every line that it logs names task, job and attempt, see `add_job`. At DEBUG its start is
    logged."""
    current_job.job.set(ctx["job"])
    if events.isEnabledFor(logging.DEBUG):
        events.debug("job started")


async def clear_log_context(ctx: Context) -> None:
    """After a job. At DEBUG, logs the attempt's outcome and its duration in seconds."""
    if events.isEnabledFor(logging.DEBUG):
        job = ctx["job"]
        # A job that gets another attempt no longer has a start time.
        took = {"seconds": (job.completed - job.started) / 1000} if job.completed else {}
        events.debug("job ended", extra={"status": job.status.value, **took})
    current_job.job.set(None)


def add_job(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor that adds the job which logs."""
    if (job := current_job.job.get()) is not None:
        event.setdefault("task", job.function)
        event.setdefault("job", job.key)
        event.setdefault("attempt", job.attempts)
    return event
