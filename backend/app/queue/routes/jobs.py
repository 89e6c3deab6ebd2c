"""Jobs by key."""

from typing import Annotated, Any

import msgspec
from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, delete, get, post
from litestar.exceptions import NotAuthorizedException
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET, UnsetType
from saq import Job

from app.queue.engine.queues import Queues
from app.queue.errors import JobNotFound
from app.queue.memory.history import JobHistory
from app.queue.memory.models import JobRecord
from app.queue.memory.rows import milliseconds
from app.queue.routes.answers import ADMIN, FOR_ALL, is_admin
from app.queue.routes.links import JobLinks, is_random
from app.queue.shown import error_summary, remembered, shown

Token = Annotated[str | None, QueryParameter(description="of the `Location` that the enqueue answered with")]


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
    result: Any = UNSET
    """Left out, as `error`, for those who may see no more than the status."""
    error: str | UnsetType | None = UNSET
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

    @get(**FOR_ALL)
    @inject
    async def show(
        self,
        key: FromPath[str],
        request: Request[Any, Any, Any],
        queues: FromDishka[Queues],
        history: FromDishka[JobHistory],
        links: FromDishka[JobLinks],
        token: Token = None,
    ) -> JobView:
        """The job as it stands, from PostgreSQL where Redis does not have it.

        The admin, and who has the token of `Location`, see result and error; others the status, by a random key only.
        """
        key, named = queues.locate(key)
        if is_admin(request):
            return await _view(key, queues, history, named)
        if token is not None:
            if (queue := links.queue_of([named] if named else queues.by_name, key, token)) is None:
                raise _not_shown("the token does not open this job")
            return await _view(key, queues, history, queue)
        if not is_random(key):
            raise _not_shown("a key that was chosen can be guessed")
        view = await _view(key, queues, history, named)
        return msgspec.structs.replace(view, result=UNSET, error=UNSET)

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


async def _view(key: str, queues: Queues, history: JobHistory, queue: str | None = None) -> JobView:
    """The job of that key in a queue, or in any."""
    try:
        return JobView.of(await queues.find(key, queue))
    except JobNotFound:
        if (waiting := await history.unpublished(key, queues, queue)) is not None:
            return JobView.of(waiting)
        record = await history.latest(key, queue)
        if record is None:
            raise
        return JobView.remembered(queues, record)


def _not_shown(reason: str) -> NotAuthorizedException:
    # The same whether there is such a job or not.
    return NotAuthorizedException(
        f"{reason}: use the Location that the enqueue answered with, or the admin's credentials",
        headers={"WWW-Authenticate": 'Basic realm="Saqueduct", charset="UTF-8"'},
    )
