"""What the routes of the queue share: access, bodies and responses."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from saq import Job

from saqueduct.common.secret import Secret
from saqueduct.litestar import guards
from saqueduct.litestar.links import JobLinks
from saqueduct.litestar.responses import JSONResponse

ADMIN: dict[str, Any] = {"opt": guards.ADMIN, "security": guards.ADMIN_SECURITY}
"""Arguments of a handler that only the admin may call: `AdminRoutes` looks for the option."""

NUMBERS: dict[str, Any] = {"opt": {"admin": "on demand"}, "security": guards.ADMIN_SECURITY}
"""Arguments of a handler that only shows numbers, and that awaits `require_reader`."""

FOR_ALL: dict[str, Any] = {"opt": {"admin": "optional"}, "security": [{}, *guards.ADMIN_SECURITY]}
"""Arguments of a handler that shows more to the admin than to others, see `is_admin`."""


async def require_admin(request: Request[Any, Any, Any]) -> None:
    """In a handler with `opt={"admin": "on demand"}`: continue for the admin only.

    Raises:
        NotAuthorizedException, TooManyRequestsException: by the guard of the admin.
    """
    await request.route_handler.opt[guards.REQUIRE](request)


async def require_reader(request: Request[Any, Any, Any], token: Secret | None) -> None:
    """As `require_admin`, and also for a bearer token that opens routes which only show numbers, compared in constant
    time; an empty one opens nothing.

    Raises:
        NotAuthorizedException, TooManyRequestsException: by the guard of the admin.
    """
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if token is None or scheme.lower() != "bearer" or not token.matches(value.strip()):
        await require_admin(request)


def is_admin(request: Request[Any, Any, Any]) -> bool:
    """True when the admin calls a handler of FOR_ALL."""
    return bool(request.scope["state"].get("admin"))


Words = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$", description="text without the character NUL")]
"""A remark about a job; text in PostgreSQL cannot contain NUL."""


class EnqueuedJob(msgspec.Struct):
    """Answer of a route that enqueued a job."""

    job_id: str
    """The job's key, for `GET /jobs/{key}`."""
    created: bool = True
    """False when a job of that key, or a unique one of the same arguments, existed before, and this is its key."""
    key: str = ""
    """The same as `job_id`."""

    def __post_init__(self) -> None:
        self.key = self.job_id


class PauseRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a request that pauses a queue or a schedule; all of it may be left out."""

    why: Words = ""
    """For those who find it paused."""
    by: Words = "admin"
    """Who pauses it, where several people share the admin's credentials."""


def created(job: Job, links: JobLinks) -> Response[EnqueuedJob]:
    """The response: 201, or 200 if the job already existed."""
    new = getattr(job, "created", True)
    location = {"Location": links.location(job)}
    return JSONResponse(EnqueuedJob(job.key, new), status_code=201 if new else 200, headers=location)
