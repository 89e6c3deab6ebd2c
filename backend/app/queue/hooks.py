"""Hooks of every worker: what a job's context and its log lines carry."""

import structlog
from saq.types import Context

from app.queue import redaction
from app.queue.shown import secrets_of


async def give_queue(ctx: Context) -> None:
    """Startup: `ctx["queue"]`. Each job's context is a copy of the worker's, so this reaches all tasks."""
    ctx["queue"] = ctx["worker"].queue


async def bind_log_context(ctx: Context) -> None:
    """Before a job: every line that it logs tells task, job and attempt."""
    job = ctx["job"]
    structlog.contextvars.bind_contextvars(task=job.function, job=job.key, attempt=job.attempts)


async def clear_log_context(ctx: Context) -> None:
    """After a job."""
    structlog.contextvars.unbind_contextvars("task", "job", "attempt")


async def keep_secrets(ctx: Context) -> None:
    """Before a job: what it logs, and the traceback of its error, do not tell what its task redacts."""
    redaction.keep(secrets_of(ctx["job"]))


async def forget_secrets(ctx: Context) -> None:
    """After a job."""
    redaction.keep(redaction.NO_SECRETS)
