"""How errors of all kinds become HTTP answers (RFC 9457 problem details)."""

from typing import Any

from litestar import Request, Response
from litestar.types import ExceptionHandlersMap

from app.errors import AppError
from saqueduct.litestar import errors


def _app_error(_: Request[Any, Any, Any], error: AppError) -> Response[Any]:
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return errors.problem(error.status, error.code, error.detail, headers)


EXCEPTION_HANDLERS: ExceptionHandlersMap = {AppError: _app_error, **errors.EXCEPTION_HANDLERS}
"""For `Litestar(exception_handlers=...)`; the nearest class of an error's ancestry wins."""
