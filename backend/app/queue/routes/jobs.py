"""Jobs by key."""

from typing import Any

import msgspec
from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, delete, get, post
from litestar.params import FromPath
from saq import Job

from app.queue.engine.queues import Queues
from app.queue.errors import JobNotFound
from app.queue.memory.history import JobHistory
from app.queue.memory.models import JobRecord
from app.queue.memory.rows import milliseconds
from app.queue.routes.answers import ADMIN
from app.queue.shown import error_summary, remembered, shown


class JobView(msgspec.Struct):
    """A job as it stands. Times are epoch milliseconds, 0 where it has not come to that."""

    job_id: str
    task: str
    queue: str
    status: str
    attempts: int
    retries: int
    progress: float
    """0.0 to 1.0, as the job reports it."""
    queued: int
    started: int
    completed: int
    scheduled: int
    """Epoch seconds before which it does not start; 0: at once."""
    result: Any
    error: str | None
    """Type and message of the last error; the traceback is in the worker's log and in the SAQ UI."""

    @classmethod
    def of(cls, job: Job) -> "JobView":
        visible = shown(
            job.queue, {"function": job.function, "kwargs": job.kwargs, "error": job.error, "result": job.result}
        )
        return cls(
            job_id=job.key,
            task=job.function,
            queue=job.get_queue().name,
            status=job.status.value,
            attempts=job.attempts,
            retries=job.retries,
            progress=job.progress,
            queued=job.queued,
            started=job.started,
            completed=job.completed,
            scheduled=job.scheduled,
            result=visible["result"],
            error=error_summary(visible["error"]),
        )

    @classmethod
    def remembered(cls, queues: Queues, record: JobRecord) -> "JobView":
        """Of the record of a job."""
        visible = remembered(queues, record)
        return cls(
            job_id=record.key,
            task=record.task,
            queue=record.queue,
            status=record.status,
            attempts=record.attempts,
            retries=record.attempts,
            progress=1.0 if record.status == "complete" else 0.0,
            queued=milliseconds(record.queued_at),
            started=milliseconds(record.started_at),
            completed=milliseconds(record.ended_at),
            scheduled=0,
            result=visible["result"],
            error=error_summary(visible["error"]),
        )


class JobController(Controller):
    """Jobs by key."""

    path = "/jobs/{key:str}"
    tags = ("Jobs",)

    @get()
    @inject
    async def show(self, key: FromPath[str], queues: FromDishka[Queues], history: FromDishka[JobHistory]) -> JobView:
        """The job as it stands, or its record when Redis has forgotten it."""
        try:
            return JobView.of(await queues.find(key))
        except JobNotFound:
            record = await history.latest(key)
            if record is None:
                raise
            return JobView.remembered(queues, record)

    @delete(**ADMIN, status_code=202)
    @inject
    async def abort(self, key: FromPath[str], queues: FromDishka[Queues]) -> JobView:
        """Abort the job: a waiting one ends at once, a running one within about a second."""
        return JobView.of(await queues.abort(key))

    @post("/retry", **ADMIN, status_code=202)
    @inject
    async def retry(self, key: FromPath[str], queues: FromDishka[Queues]) -> JobView:
        """Queue a job that has ended once more, with the same arguments."""
        return JobView.of(await queues.retry(key))
