"""Jobs that PostgreSQL knows as completed, and the success of a job that commits with its own session.

An attempt that finds its job completed does not run it again: should a worker die after the commit and before Redis
knows, the job is not done twice. `saqueduct.postgres.completion` writes the success.
"""

from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

from saq.types import Context

from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import DURABLE, put_back


class Completions(Protocol):
    """Knows which jobs have completed; a queue's recorder."""

    async def completed(self, job: EngineJob) -> tuple[Any] | None:
        """The result of a job, if another attempt has completed it."""
        ...


class Success(NamedTuple):
    """A job whose function has returned, and whose session is about to commit; the result is JSON builtins."""

    job: EngineJob
    result: Any
    completions: Completions


announced: ContextVar[Success | None] = ContextVar("success", default=None)


def announce(ctx: Context, result: Any) -> None:
    """Note the result of the job of this context, whose session is about to commit.

    Args:
        ctx: of the job.
        result: as JSON builtins.
    """
    if known := _known(ctx):
        job, completions = known
        announced.set(Success(job, result, completions))


def may_have_completed(ctx: Context, *, commits: bool) -> bool:
    """True when another attempt may have completed the job of this context, and PostgreSQL may know that it has.

    Args:
        ctx: of the job.
        commits: True: its success may commit with its session. Of such a job and of a durable one PostgreSQL may
            know more than Redis; no other is asked for.
    """
    job = ctx.get("job")
    if job is None or not (commits or job.meta.get(DURABLE)):
        return False
    return bool(job.attempts > 1 or job.error or put_back(job.meta))


async def completed(ctx: Context) -> tuple[Any] | None:
    """The result of the job of this context, if another attempt has completed it."""
    if known := _known(ctx):
        job, completions = known
        return await completions.completed(job)
    return None


def _known(ctx: Context) -> tuple[EngineJob, Completions] | None:
    """The job of a context and who knows whether it has completed; None on a stock queue, or without PostgreSQL."""
    job = ctx.get("job")
    completions: Completions | None = getattr(ctx.get("queue"), "recorder", None)
    return (job, completions) if completions is not None and isinstance(job, EngineJob) else None
