"""What the routes of the queue share: access, bodies and responses."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from saq import Job

from saqueduct.common.people import Person, Role
from saqueduct.common.secret import Secret
from saqueduct.common.text import LONGEST_REMARK
from saqueduct.litestar import guards
from saqueduct.litestar.access import person_of
from saqueduct.litestar.links import JobLinks
from saqueduct.litestar.responses import JSONResponse
from saqueduct.tasks.job import own_fields

VIEWER: dict[str, Any] = {"opt": guards.VIEWER, "security": guards.security(Role.VIEWER)}
OPERATOR: dict[str, Any] = {"opt": guards.OPERATOR, "security": guards.security(Role.OPERATOR)}
ADMIN: dict[str, Any] = {"opt": guards.ADMIN, "security": guards.security(Role.ADMIN)}
"""Arguments of a handler that only people with this role may call: `RoleGuard` looks for the option."""

NUMBERS: dict[str, Any] = {**VIEWER, "opt": guards.VIEWER | {guards.WHEN: "on demand"}}
"""Arguments of a handler that only shows numbers, and that awaits `require_reader`."""

FOR_ALL: dict[str, Any] = {
    "opt": guards.VIEWER | {guards.WHEN: "optional"},
    "security": [{}, *guards.security(Role.VIEWER)],
}
"""Arguments of a handler that shows more to people with a role than to others, see `sees_all`."""


async def require_reader(request: Request[Any, Any, Any], token: Secret | None) -> None:
    """As `require_role`, and also for a bearer token that opens routes which only show numbers, compared in constant
    time; an empty one opens nothing.

    Raises:
        NotAuthorizedException, PermissionDeniedException, TooManyRequestsException: see `Access.require`.
    """
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if token is None or scheme.lower() != "bearer" or not token.matches(value.strip()):
        await guards.require_role(request)


def sees_all(request: Request[Any, Any, Any]) -> bool:
    """True when somebody with a role calls a handler of FOR_ALL."""
    return person_of(request) is not None


def asker(request: Request[Any, Any, Any]) -> Person:
    """The person who calls a handler that needs a role."""
    person = person_of(request)
    assert person is not None, "the route needs no role"  # noqa: S101
    return person


Words = Annotated[
    str,
    msgspec.Meta(pattern=r"^[^\x00]*$", max_length=LONGEST_REMARK, description="text without the character NUL"),
]
"""A remark about a job, kept with it and in the audit; text in PostgreSQL cannot contain NUL."""


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
    by: Words = ""
    """Who pauses it. Counts only where nobody is signed in: in development, and with guards of the application."""


def created(job: Job, links: JobLinks) -> Response[EnqueuedJob]:
    """The response: 201, or 200 if the job already existed."""
    new = own_fields(job).created
    location = {"Location": links.location(job)}
    return JSONResponse(EnqueuedJob(job.key, new), status_code=201 if new else 200, headers=location)
