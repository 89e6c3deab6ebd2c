"""Errors of the application.

Domains raise subclasses of AppError; apart from its status, a service knows nothing about HTTP. `app/web/errors.py`
makes the answers.
"""

from typing import ClassVar


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
