"""A job's success, written in the transaction of the job's own session.

What the job did to the database, the jobs it enqueued with the session, and that it has completed commit together or
not at all. An attempt that finds the job completed does not run it again: should the worker die after the commit and
before Redis knows, the job is not done twice.
"""

import copy
from contextvars import ContextVar
from typing import Any, NamedTuple, cast

from asyncpg import InFailedSQLTransactionError
from saq import Job
from saq.job import Status
from saq.types import Context
from saq.utils import now
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.errors import JobSuperseded
from saqueduct.postgres.connection import TransactionAborted
from saqueduct.postgres.outage import outage_in
from saqueduct.postgres.recorder import JobRecorder
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import DURABLE, put_back

ABORTED = InFailedSQLTransactionError.sqlstate


class _Success(NamedTuple):
    job: EngineJob
    result: Any
    recorder: JobRecorder


_success: ContextVar[_Success | None] = ContextVar("success", default=None)


def announce(ctx: Context, result: Any) -> None:
    """The job of this context has come to its result; its session is about to commit.

    Args:
        ctx: of the job.
        result: as JSON builtins.
    """
    recorder = _recorder(ctx)
    if recorder is not None:
        _success.set(_Success(cast("EngineJob", ctx["job"]), result, recorder))


async def commit(session: AsyncSession) -> None:
    """Commit a session from the container; that of a job together with the job's success.

    Raises:
        JobSuperseded: another attempt has completed the job; nothing is committed.
        TransactionAborted: a statement of the transaction had failed; nothing is committed.
    """
    success, _ = _success.get(), _success.set(None)
    if success is None or not session.in_transaction() or _goes_without(success):
        await session.commit()
        return
    job = copy.copy(success.job)
    job.status, job.result, job.error, job.completed, job.progress = Status.COMPLETE, success.result, None, now(), 1.0
    try:
        written = await success.recorder.rows.succeed(session, job)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == ABORTED:
            raise TransactionAborted from error
        if outage_in(error):
            success.recorder.suspend()
        raise
    if written is False:
        raise JobSuperseded(job.key)
    await session.commit()
    success.job.recorded = written is True


def _goes_without(success: _Success) -> bool:
    """True when a job is to commit without its record. Never one whose worker died: it may have committed already."""
    return success.recorder.suspended and not put_back(success.job.meta)


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
    recorder = _recorder(ctx)
    return None if recorder is None else await recorder.completed(cast("EngineJob", ctx["job"]))


def _recorder(ctx: Context) -> JobRecorder | None:
    job: Job | None = ctx.get("job")
    recorder = getattr(ctx.get("queue"), "recorder", None)
    return recorder if isinstance(recorder, JobRecorder) and isinstance(job, EngineJob) else None
