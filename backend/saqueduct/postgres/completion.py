"""A job's success, written in the transaction of the job's own session.

The job's changes to the database, the jobs that it enqueued with the session, and its completion commit together or not
at all. An attempt that finds the job completed does not run it again: if the worker dies after the commit and before
Redis knows, the job does not run twice.
"""

import copy
from typing import Any, NamedTuple

from asyncpg import InFailedSQLTransactionError
from saq.job import Status
from saq.utils import now
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.errors import JobSuperseded
from saqueduct.postgres.connection import TransactionAborted
from saqueduct.postgres.outage import outage_in, sqlstate_of
from saqueduct.postgres.partition_layout import no_partition
from saqueduct.postgres.recorder import JobRecorder
from saqueduct.tasks.completion import Success, announced
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import put_back

ABORTED: str = InFailedSQLTransactionError.sqlstate


class RecordedSuccess(NamedTuple):
    """The success of a job that commits with its session, and the recorder that writes it."""

    job: EngineJob
    result: Any
    recorder: JobRecorder


async def commit(session: AsyncSession) -> None:
    """Commit a session from a container; in a job, together with the job's success.

    Sessions that are injected by name need no such call, see `saqueduct.postgres.job_sessions`.

    Raises:
        JobSuperseded: another attempt has completed the job; nothing is committed.
        TransactionAborted: a statement of the transaction had failed; nothing is committed.
    """
    success = success_to_write(announced.get())
    announced.set(None)
    if success is None or not session.in_transaction():
        await session.commit()
        return
    written = await write_success(session, success)
    await session.commit()
    success.job.recorded = written


def success_to_write(success: Success | None) -> RecordedSuccess | None:
    """The success, if it must commit with the job's session; otherwise its record is written later, or never."""
    if success is None or not isinstance(success.completions, JobRecorder):
        return None
    job, result, recorder = success.job, success.result, success.completions
    # Never without the record of a job that may have committed already.
    return None if recorder.suspended and not _may_run_twice(job) else RecordedSuccess(job, result, recorder)


def _may_run_twice(job: EngineJob) -> bool:
    """True for a job whose worker died, or that other workers may have taken, because the event loop was blocked."""
    return job.offered or bool(put_back(job.meta))


async def write_success(session: AsyncSession, success: RecordedSuccess) -> bool:
    """Write in a session's transaction that its job has completed; returns False when there is nothing to write.

    Raises:
        JobSuperseded: another attempt has completed the job.
        TransactionAborted: a statement of the transaction had failed.
    """
    job, recorder = copy.copy(success.job), success.recorder
    job.status, job.result, job.error, job.completed, job.progress = Status.COMPLETE, success.result, None, now(), 1.0
    try:
        written = await recorder.rows.succeed(session, job)
    except DBAPIError as error:
        if is_aborted(error):
            raise TransactionAborted from error
        if outage_in(error) or no_partition(error):
            recorder.suspend()
        raise
    if written is False:
        raise JobSuperseded(job.key)
    return bool(written)


def is_aborted(error: DBAPIError) -> bool:
    """True when PostgreSQL refused a statement because an earlier one of the transaction had failed."""
    return sqlstate_of(error) == ABORTED
