"""Errors of the application, and how errors of all kinds become HTTP answers (RFC 9457 problem details).

Domains raise subclasses of AppError; a service knows no more of HTTP than that.
"""

import http
import logging
from typing import Any, ClassVar

from asyncpg import InterfaceError as AsyncpgInterfaceError
from asyncpg import PostgresError
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap
from sqlalchemy.exc import SQLAlchemyError

from app.web.printable import printable
from app.web.unknown import named
from saqueduct import errors as queue_errors
from saqueduct.postgres.outage import outage_in, took_too_long

logger = logging.getLogger("app.http")

PROBLEM = "application/problem+json"


class AppError(Exception):
    """Base of the domains' errors.

    Attributes:
        status: HTTP status of the answer.
        code: short name of the kind of error, stable for programs.
        detail: what was wrong and what to do, for people.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid"

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class NotFound(AppError):
    """What was asked for does not exist, or not for this user."""

    status = 404
    code = "not-found"


class Conflict(AppError):
    """The state of things does not allow it."""

    status = 409
    code = "conflict"


class Unauthorized(AppError):
    """No valid credentials came with the request."""

    status = 401
    code = "unauthorized"


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response[Any]:
    """An answer of media type application/problem+json."""
    content = {"status": status, "code": code, "detail": detail, **more}
    return Response(content, status_code=status, media_type=PROBLEM, headers=headers)


def _app_error(_: Request[Any, Any, Any], error: AppError) -> Response[Any]:
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return problem(error.status, error.code, error.detail, headers)


def _queue_error(_: Request[Any, Any, Any], error: queue_errors.QueueError) -> Response[Any]:
    match error:
        case queue_errors.UnknownTask():
            return problem(404, "unknown-task", str(error), near=error.near)
        case queue_errors.UnknownQueue():
            return problem(404, "unknown-queue", str(error), known=error.known)
        case queue_errors.UnknownSchedule():
            return problem(404, "unknown-schedule", str(error), known=error.known)
        case queue_errors.InvalidArguments():
            return problem(400, "invalid-arguments", str(error), errors=error.problems)
        case queue_errors.PayloadTooLarge() | queue_errors.CommandTooLarge():
            return problem(413, "payload-too-large", str(error))
        case queue_errors.JobNotFound():
            return problem(404, "job-not-found", str(error))
        case queue_errors.DeadLetterNotFound():
            return problem(404, "dead-letter-not-found", str(error))
        case queue_errors.InvalidCursor():
            return problem(400, "invalid-cursor", str(error))
        case queue_errors.InvalidSearch():
            return problem(400, "invalid-search", str(error))
        case queue_errors.DuplicateJob():
            return problem(409, "duplicate-job", str(error), job_id=error.standing)
        case queue_errors.JobConflict():
            return problem(409, "job-conflict", str(error))
        case queue_errors.EnqueueConflict():
            return problem(503, "enqueue-conflict", str(error), _retry_after(error.retry_after))
        case queue_errors.QueueUnavailable():
            return problem(
                503,
                "queue-unavailable",
                "the job queue cannot be reached, try again",
                _retry_after(error.retry_after),
            )
        case _:
            return _unexpected(_, error)


def _database_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """503 while PostgreSQL is away or overloaded; an error of a statement itself is ours."""
    reason = outage_in(error)
    if not reason and not took_too_long(error):
        return _unexpected(request, error)
    logger.error("database error at %s %s: %s", request.method, printable(request.url.path), reason or error)
    return problem(503, "database-unavailable", "the database does not answer in time, try again", _retry_after(5))


def _http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    more: dict[str, Any] = {}
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        more["errors"] = named(error.extra, request)
    code = "invalid" if error.status_code == 400 else _code(error.status_code)
    return problem(error.status_code, code, error.detail, dict(error.headers or {}), **more)


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    logger.error("unexpected error at %s %s", request.method, printable(request.url.path), exc_info=error)
    return problem(500, "internal", "something went wrong here; it has been logged")


def _too_deep(request: Request[Any, Any, Any], error: RecursionError) -> Response[Any]:
    # msgspec's words; any other recursion without end is ours.
    if "serializing an object" not in str(error):
        return _unexpected(request, error)
    return problem(400, "invalid", "the JSON is nested too deep: send it with fewer levels")


def _code(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase.lower().replace(" ", "-")
    except ValueError:
        return "error"


def _retry_after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    AppError: _app_error,
    queue_errors.QueueError: _queue_error,
    SQLAlchemyError: _database_error,
    PostgresError: _database_error,
    AsyncpgInterfaceError: _database_error,
    HTTPException: _http_error,
    RecursionError: _too_deep,
    Exception: _unexpected,
}
"""For `Litestar(exception_handlers=...)`; the nearest class of an error's ancestry wins."""
