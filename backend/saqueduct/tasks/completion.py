"""Jobs that PostgreSQL has recorded as complete, and the success of a job that commits with its own session.

An attempt that finds its job already completed does not run it again; neither does one that finds its durable job ended
in any way. So a job is not done twice if a worker dies after the commit and before the outcome is in Redis.
`saqueduct.postgres.completion` writes the success.
"""

import asyncio
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

from saq import Job
from saq.types import Context

from saqueduct.tasks.job import EngineJob, own_fields
from saqueduct.tasks.job_meta import DURABLE, put_back

OFFERED_LOOK = 0.05
"""Seconds between two looks at whether a job is still offered to other workers."""


class Ended(NamedTuple):
    """How another attempt ended a job: with a result, or with an error."""

    result: Any
    error: str | None = None


class Completions(Protocol):
    """Reports which jobs have ended; implemented by a queue's recorder."""

    async def completed(self, job: EngineJob) -> Ended | None:
        """How another attempt ended a job; None: none did, as far as is known. Failures are known of durable jobs."""
        ...


class Success(NamedTuple):
    """A job whose function has returned and whose session is about to commit; the result is JSON builtins."""

    job: EngineJob
    result: Any
    completions: Completions


announced: ContextVar[Success | None] = ContextVar("success", default=None)


def announce(ctx: Context, result: Any) -> None:
    """Store the result of this context's job, whose session is about to commit.

    Args:
        ctx: context of the job.
        result: the result as JSON builtins.
    """
    if known := _known(ctx):
        job, completions = known
        announced.set(Success(job, result, completions))


def may_have_completed(ctx: Context, *, commits: bool) -> bool:
    """True when another attempt may have completed the job of this context, and PostgreSQL may have recorded it.

    Args:
        ctx: context of the job.
        commits: True: its success may commit with its session. Only for such a job, and for a durable one, PostgreSQL
            may have more than Redis; no other job is looked up.
    """
    job = ctx.get("job")
    if job is None or not (commits or (job.meta and job.meta.get(DURABLE))):
        return False
    return bool(job.attempts > 1 or job.error or put_back(job.meta))


async def completed(ctx: Context) -> Ended | None:
    """How another attempt ended this context's job; None: none did, as far as is known."""
    if known := _known(ctx):
        job, completions = known
        return await completions.completed(job)
    return None


async def decided(job: Job) -> None:
    """Wait while other workers may take a job whose function has not been called yet.

    The event loop was blocked while the attempt waited for something else. The thread that renews the leases finds out
    with its next renewal: a job that another worker has taken is cancelled here.
    """
    while own_fields(job).offered:  # noqa: ASYNC110  (no event: a thread finds out)
        await asyncio.sleep(OFFERED_LOOK)
    # The cancellation may be among the next callbacks of the event loop.
    await asyncio.sleep(0)


def _known(ctx: Context) -> tuple[EngineJob, Completions] | None:
    """The job of a context, and the recorder to ask; None on a stock queue, or without PostgreSQL."""
    job = ctx.get("job")
    completions: Completions | None = getattr(ctx.get("queue"), "recorder", None)
    return (job, completions) if completions is not None and isinstance(job, EngineJob) else None
