"""The guard of routes that need a logged-in user, who is then `request.user`."""

from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.users.authentication import Authentication
from app.users.errors import InvalidAccessToken
from app.users.models import User

UserRequest = Request[User, None, Any]
"""A request that passed `require_user`."""


async def require_user(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let the request pass when it carries the access token of an active user's live session.

    Raises:
        InvalidAccessToken: it does not.
    """
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidAccessToken
    authentication = await connection.state.dishka_container.get(Authentication)
    connection.scope["user"] = await authentication.identify(token.strip())
