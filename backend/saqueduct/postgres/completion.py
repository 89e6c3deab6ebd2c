"""A job's success, written in the transaction of the job's own session.

What the job did to the database, the jobs it enqueued with the session, and that it has completed commit together or
not at all. An attempt that finds the job completed does not run it again: should the worker die after the commit and
before Redis knows, the job is not done twice.
"""

import copy

from asyncpg import InFailedSQLTransactionError
from saq.job import Status
from saq.utils import now
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct.errors import JobSuperseded
from saqueduct.postgres.connection import TransactionAborted
from saqueduct.postgres.outage import outage_in
from saqueduct.postgres.recorder import JobRecorder
from saqueduct.tasks.completion import announced
from saqueduct.tasks.job_meta import put_back

ABORTED = InFailedSQLTransactionError.sqlstate


async def commit(session: AsyncSession) -> None:
    """Commit a session from the container; that of a job together with the job's success.

    Raises:
        JobSuperseded: another attempt has completed the job; nothing is committed.
        TransactionAborted: a statement of the transaction had failed; nothing is committed.
    """
    success, _ = announced.get(), announced.set(None)
    recorder = success.completions if success is not None else None
    if success is None or not isinstance(recorder, JobRecorder) or not session.in_transaction():
        await session.commit()
        return
    if recorder.suspended and not put_back(success.job.meta):
        # Without its record; never a job whose worker died: it may have committed already.
        await session.commit()
        return
    job = copy.copy(success.job)
    job.status, job.result, job.error, job.completed, job.progress = Status.COMPLETE, success.result, None, now(), 1.0
    try:
        written = await recorder.rows.succeed(session, job)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == ABORTED:
            raise TransactionAborted from error
        if outage_in(error):
            recorder.suspend()
        raise
    if written is False:
        raise JobSuperseded(job.key)
    await session.commit()
    success.job.recorded = written is True
