"""Jobs by key."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from litestar import Controller, Request, delete, get, post
from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException, ServiceUnavailableException
from litestar.params import FromPath, QueryParameter
from litestar.response import ServerSentEvent
from saq import Job

from saqueduct.errors import JobNotFound
from saqueduct.litestar.audit import audit_entry
from saqueduct.litestar.links import is_random
from saqueduct.litestar.routes.answers import FOR_ALL, OPERATOR, sees_all
from saqueduct.litestar.routes.job_events import events
from saqueduct.litestar.routes.listeners import LISTENING
from saqueduct.litestar.routes.views import JobView
from saqueduct.litestar.services import QueueServices
from saqueduct.queue.audit import Action

Token = Annotated[str | None, QueryParameter(description="of the `Location` that the enqueue answered with")]


class JobController(Controller):
    """Jobs by key."""

    path = "/jobs/{key:str}"
    tags = ("Jobs",)

    @get(**FOR_ALL, operation_id="show_job")
    async def show(
        self,
        key: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[QueueServices],
        token: Token = None,
    ) -> JobView:
        """The state of the job, from PostgreSQL if Redis does not have it.

        People with a role see all of it; who has the token of `Location`, result and error too; others the status, by
        a random key only.
        """
        view, _ = await _visible(key, request, services, token)
        return view

    @get("/events", **FOR_ALL, media_type="text/event-stream", operation_id="follow_job")
    async def follow(
        self,
        key: FromPath[str],
        request: Request[Any, Any, Any],
        services: NamedDependency[QueueServices],
        token: Token = None,
    ) -> ServerSentEvent:
        """Server-sent events until the job ends: `status`, `progress`, and last `end` with the job and its result.

        For people with a role, and who has the token of `Location`.
        """
        view, whole = await _visible(key, request, services, token)
        if not whole:
            raise _not_shown("events contain the result")
        if LISTENING.full:
            raise ServiceUnavailableException(
                "too many clients listen to jobs: request the job itself from time to time",
                headers={"Retry-After": "5"},
            )
        return ServerSentEvent(events(services.queues.look_up(view.queue), view))

    @delete(**OPERATOR, status_code=202, operation_id="abort_job")
    async def abort(
        self, key: FromPath[str], request: Request[Any, Any, Any], services: NamedDependency[QueueServices]
    ) -> JobView:
        """Abort the job: a waiting one ends immediately, a running one within about a second."""
        return await _done(request, services, "abort", key, services.queues.abort)

    @post("/retry", **OPERATOR, status_code=202, operation_id="retry_job")
    async def retry(
        self, key: FromPath[str], request: Request[Any, Any, Any], services: NamedDependency[QueueServices]
    ) -> JobView:
        """Queue a job that has ended again, with the same arguments."""
        return await _done(request, services, "retry", key, services.queues.retry)


async def _done(
    request: Request[Any, Any, Any],
    services: QueueServices,
    action: Action,
    given: str,
    do: Callable[[str], Awaitable[Job]],
) -> JobView:
    """Do something to a job, and note it."""
    key, queue = services.queues.locate(given)
    async with services.queues.audit.doing(audit_entry(request, action, "job", [key], queue=queue)) as planned:
        view = JobView.of(await do(given))
        planned.entry = audit_entry(request, action, "job", [view.key], task=view.task, queue=view.queue)
    return view


async def _visible(
    given: str,
    request: Request[Any, Any, Any],
    services: QueueServices,
    token: str | None,
) -> tuple[JobView, bool]:
    """The job as the caller may see it, and whether that includes its result and error.

    Raises:
        NotAuthorizedException: the caller may not even see its status.
        JobNotFound: there is none.
    """
    key, named = services.queues.locate(given)
    if sees_all(request):
        return await _view(key, services, named), True
    if token is not None:
        if (queue := services.links.queue_of([named] if named else services.queues.by_name, key, token)) is None:
            raise _not_shown("the token is not valid for this job")
        return (await _view(key, services, queue)).without_details(), True
    if not is_random(key):
        raise _not_shown("a chosen key can be guessed")
    return (await _view(key, services, named)).without_outcome(), False


async def _view(key: str, services: QueueServices, queue: str | None = None) -> JobView:
    """The job of that key in a queue, or in any."""
    try:
        return await JobView.of_waiting(services.queues, await services.queues.find(key, queue))
    except JobNotFound:
        if not services.keeps_records:
            raise
        return await _recorded(key, services, queue)


async def _recorded(key: str, services: QueueServices, queue: str | None) -> JobView:
    """The job as PostgreSQL has it."""
    async with services.history() as history:
        if (waiting := await history.unpublished(key, services.queues, queue)) is not None:
            return JobView.of(waiting)
        if (record := await history.latest(key, queue)) is not None:
            return JobView.remembered(services.queues, record)
    # It may have moved from the outbox to Redis meanwhile.
    return JobView.of(await services.queues.find(key, queue))


def _not_shown(reason: str) -> NotAuthorizedException:
    # The same answer whether such a job exists or not.
    return NotAuthorizedException(
        f"{reason}: use the Location that the enqueue answered with, or sign in",
        headers={"WWW-Authenticate": 'Basic realm="Saqueduct", charset="UTF-8"'},
    )
