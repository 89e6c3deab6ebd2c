"""Errors of the application, and how errors of all kinds become HTTP answers (RFC 9457 problem details).

Domains raise subclasses of AppError; apart from that, a service knows nothing about HTTP.
"""

from typing import Any, ClassVar

from litestar import Request, Response
from litestar.types import ExceptionHandlersMap

from saqueduct.litestar import errors


class AppError(Exception):
    """Base of the domains' errors.

    Attributes:
        status: HTTP status of the answer.
        code: short name of the kind of error, stable for programs.
        detail: what was wrong and what to do, as readable text.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid"

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class NotFound(AppError):
    """The requested object does not exist, or not for this user."""

    status = 404
    code = "not-found"


class Conflict(AppError):
    """The current state does not allow the request."""

    status = 409
    code = "conflict"


class Unauthorized(AppError):
    """No valid credentials came with the request."""

    status = 401
    code = "unauthorized"


def _app_error(_: Request[Any, Any, Any], error: AppError) -> Response[Any]:
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return errors.problem(error.status, error.code, error.detail, headers)


EXCEPTION_HANDLERS: ExceptionHandlersMap = {AppError: _app_error, **errors.EXCEPTION_HANDLERS}
"""For `Litestar(exception_handlers=...)`; the nearest class of an error's ancestry wins."""
