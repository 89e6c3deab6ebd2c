"""How errors become HTTP responses: problem details (RFC 9457) as application/problem+json."""

import logging
import sys
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from saqueduct import errors
from saqueduct.common.text import loggable
from saqueduct.litestar.phrases import phrase_of
from saqueduct.litestar.refusals import RequestRefused, RoleNeeded, SignInNeeded
from saqueduct.litestar.unknown import named
from saqueduct.postgres.outage import outage_in, took_too_long

logger = logging.getLogger("saqueduct.http")

PROBLEM = "application/problem+json"

HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # The address of a job may contain its token.
    "Referrer-Policy": "same-origin",
}
"""Of every answer of the queue's routes."""

AnyRequest = Request[Any, Any, Any]


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response[Any]:
    """A response of media type application/problem+json.

    Args:
        status: of the answer.
        code: short name of the kind of error, stable for programs.
        detail: what was wrong and what to do, as readable text.
        headers: of the answer.
        more: further members of the answer.
    """
    content = {"status": status, "code": code, "detail": detail, **more}
    return Response(content, status_code=status, media_type=PROBLEM, headers=HEADERS | (headers or {}))


def queue_error(request: AnyRequest, error: errors.QueueError) -> Response[Any]:
    """The answer to an error of the queue."""
    match error:
        case errors.UnknownTask():
            return problem(404, "unknown-task", str(error), near=error.near)
        case errors.UnknownQueue():
            return problem(404, "unknown-queue", str(error), known=error.known)
        case errors.UnknownSchedule():
            return problem(404, "unknown-schedule", str(error), known=error.known)
        case errors.UnknownLimit():
            return problem(404, "unknown-limit", str(error), known=error.known)
        case errors.UnknownWorker():
            return problem(404, "unknown-worker", str(error), known=error.known)
        case errors.InvalidArguments():
            return problem(400, "invalid-arguments", str(error), errors=error.problems)
        case errors.PayloadTooLarge() | errors.CommandTooLarge():
            return problem(413, "payload-too-large", str(error))
        case errors.JobNotFound():
            return problem(404, "job-not-found", str(error))
        case errors.DeadLetterNotFound():
            return problem(404, "dead-letter-not-found", str(error))
        case errors.NoJobRecords():
            return problem(404, "no-job-records", str(error))
        case errors.InvalidCursor():
            return problem(400, "invalid-cursor", str(error))
        case errors.InvalidSearch():
            return problem(400, "invalid-search", str(error))
        case errors.DuplicateJob():
            return problem(409, "duplicate-job", str(error), job_id=error.existing)
        case errors.JobConflict():
            return problem(409, "job-conflict", str(error))
        case errors.EnqueueConflict():
            return problem(503, "enqueue-conflict", str(error), _retry_after(error.retry_after))
        case errors.QueueUnavailable():
            detail = "the job queue cannot be reached, try again"
            return problem(503, "queue-unavailable", detail, _retry_after(error.retry_after))
        case _:
            return unexpected(request, error)


def other_error(request: AnyRequest, error: Exception) -> Response[Any]:
    """503 for an error of PostgreSQL that is unavailable or overloaded, else 500."""
    reason = outage_in(error)
    if not reason and not took_too_long(error):
        return unexpected(request, error)
    logger.error("database error at %s %s: %s", request.method, loggable(request.url.path), reason or error)
    return problem(503, "database-unavailable", "the database does not answer in time, try again", _retry_after(5))


def http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """The answer to an error that Litestar, a guard or a route raised for the client."""
    more: dict[str, Any] = {}
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        more["errors"] = named(error.extra, request)
    if isinstance(error, SignInNeeded | RoleNeeded) and error.role is not None:
        more["role"] = error.role
    code = "invalid" if error.status_code == 400 else phrase_of(error.status_code).lower().replace(" ", "-")
    if isinstance(error, RequestRefused):
        code = error.code
    return problem(error.status_code, code, error.detail, dict(error.headers or {}), **more)


def too_deep(request: AnyRequest, error: RecursionError) -> Response[Any]:
    """400 for JSON with too many levels, by msgspec's message; any other endless recursion is a bug."""
    if "serializing an object" not in str(error):
        return unexpected(request, error)
    return problem(400, "invalid", "the JSON is nested too deep: send it with fewer levels")


def unexpected(request: AnyRequest, error: Exception) -> Response[Any]:
    """500, and the error in the log."""
    logger.error("unexpected error at %s %s", request.method, loggable(request.url.path), exc_info=error)
    return problem(500, "internal", "something went wrong here; it has been logged")


def _retry_after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    errors.QueueError: queue_error,
    HTTPException: http_error,
    RecursionError: too_deep,
    Exception: other_error,
}
"""For an application that wants all its errors as problem details; the nearest class of an error's ancestry wins."""


def router_handlers() -> ExceptionHandlersMap:
    """As EXCEPTION_HANDLERS, for one router: no handler of the application takes precedence.

    Litestar merges the handlers of all layers and prefers those of a status code, then those of the nearest class.
    Therefore each status code, and each class of the queue's and of SQLAlchemy's errors, has a handler of its own here.
    """
    handlers = {**EXCEPTION_HANDLERS}
    handlers |= {status.value: http_error for status in HTTPStatus if status >= 400}
    handlers |= dict.fromkeys(_family(errors.QueueError), queue_error)
    if "sqlalchemy.exc" in sys.modules:
        # Here: SQLAlchemy takes a while to import; until something has, no error is one of its own.
        from sqlalchemy.exc import SQLAlchemyError

        handlers |= dict.fromkeys(_family(SQLAlchemyError), other_error)
    return handlers


def _family(base: type[Exception]) -> Iterator[type[Exception]]:
    yield base
    for each in base.__subclasses__():
        yield from _family(each)
