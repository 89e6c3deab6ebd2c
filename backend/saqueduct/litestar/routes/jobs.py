"""Jobs by key."""

from typing import Annotated, Any

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, delete, get, post
from litestar.exceptions import NotAuthorizedException, ServiceUnavailableException
from litestar.params import FromPath, QueryParameter
from litestar.response import ServerSentEvent

from saqueduct.errors import JobNotFound
from saqueduct.litestar.routes.answers import ADMIN, FOR_ALL, is_admin
from saqueduct.litestar.routes.job_events import events
from saqueduct.litestar.routes.links import JobLinks, is_random
from saqueduct.litestar.routes.listeners import LISTENING
from saqueduct.litestar.routes.views import JobView
from saqueduct.postgres.history import JobHistory
from saqueduct.queue.queues import Queues

Token = Annotated[str | None, QueryParameter(description="of the `Location` that the enqueue answered with")]


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

        The admin sees all of it; who has the token of `Location`, result and error too; others the status, by a random
        key only.
        """
        view, _ = await _visible(key, request, queues, history, links, token)
        return view

    @get("/events", **FOR_ALL, media_type="text/event-stream")
    @inject
    async def follow(
        self,
        key: FromPath[str],
        request: Request[Any, Any, Any],
        queues: FromDishka[Queues],
        history: FromDishka[JobHistory],
        links: FromDishka[JobLinks],
        token: Token = None,
    ) -> ServerSentEvent:
        """Server-sent events until the job ends: `status`, `progress`, and last `end` with the job and its result.

        For the admin, and who has the token of `Location`.
        """
        view, whole = await _visible(key, request, queues, history, links, token)
        if not whole:
            raise _not_shown("events tell the result")
        if LISTENING.full:
            raise ServiceUnavailableException(
                "too many listen to jobs: ask for the job itself now and then", headers={"Retry-After": "5"}
            )
        return ServerSentEvent(events(queues.look_up(view.queue), view))

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


async def _visible(
    given: str,
    request: Request[Any, Any, Any],
    queues: Queues,
    history: JobHistory,
    links: JobLinks,
    token: str | None,
) -> tuple[JobView, bool]:
    """The job as who asks may see it, and whether that is its result and error too.

    Raises:
        NotAuthorizedException: not even its status.
        JobNotFound: there is none.
    """
    key, named = queues.locate(given)
    if is_admin(request):
        return await _view(key, queues, history, named), True
    if token is not None:
        if (queue := links.queue_of([named] if named else queues.by_name, key, token)) is None:
            raise _not_shown("the token does not open this job")
        return (await _view(key, queues, history, queue)).without_details(), True
    if not is_random(key):
        raise _not_shown("a key that was chosen can be guessed")
    return (await _view(key, queues, history, named)).without_outcome(), False


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
