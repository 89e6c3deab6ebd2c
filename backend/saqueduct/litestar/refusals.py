"""Refused requests, and their log lines: 401 where nobody is signed in, 403 where a role is not enough."""

import logging
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, NotAuthorizedException, PermissionDeniedException

from saqueduct.common.people import Person, Role
from saqueduct.common.text import loggable

logger = logging.getLogger("saqueduct.security")

CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="Saqueduct", charset="UTF-8"'}
"""Header with which a browser asks for user name and password."""

Connection = ASGIConnection[Any, Any, Any, Any]


class SignInNeeded(NotAuthorizedException):
    """401: nobody is signed in, or with wrong credentials.

    Attributes:
        role: that the route needs; None: the request only showed wrong credentials.
    """

    def __init__(self, role: Role | None, remedy: str, headers: dict[str, str] | None = None) -> None:
        self.role = role
        needed = f"the role {role} is needed" if role else "these credentials are wrong"
        super().__init__(f"{needed}: {remedy}", headers=headers)


class RoleNeeded(PermissionDeniedException):
    """403: the person's role is not enough.

    Attributes:
        role: that the route needs.
    """

    def __init__(self, role: Role, person: Person) -> None:
        self.role: Role | None = role
        super().__init__(f"the role {role} is needed: {person.name} has the role {person.role}")


class RequestRefused(HTTPException):
    """A request that is refused for a reason of its own.

    Attributes:
        code: short name of the reason, stable for programs.
    """

    def __init__(self, detail: str, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self.code = code
        super().__init__(detail, status_code=status, headers=headers)


def log_refusal(connection: Connection, reason: str, level: int = logging.WARNING) -> None:
    """One line, with nothing from the request but method, path and address."""
    client = connection.client.host if connection.client else "unknown"
    method, path = str(connection.scope.get("method", "WEBSOCKET")), connection.scope["path"]
    logger.log(level, "access refused: %s %s from %s: %s", loggable(method), loggable(path), loggable(client), reason)
