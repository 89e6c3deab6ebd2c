"""Who may change jobs: the admin guard, and the checks of a request's origin.

Routes that belong to the admin say so in their options: `@post(..., opt=ADMIN)`. The guard of the application
looks for that; SAQ's UI at /saq is guarded as a whole.
"""

import base64
import binascii
import hmac
import ipaddress
import re
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler

from app.settings import Settings

ADMIN: Final[dict[str, Any]] = {"admin": True}
"""Handler options of a route that only the admin may call."""

ADMIN_SECURITY: Final[list[dict[str, list[str]]]] = [{"AdminBasic": []}, {"AdminToken": []}]
"""How such a route shows it in the OpenAPI document."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

PORT_SUFFIX = re.compile(r":\d+$")

Connection = ASGIConnection[Any, Any, Any, Any]


class AdminGuard:
    """Lets the admin pass: HTTP Basic with ADMIN_USERNAME and ADMIN_PASSWORD, or bearer with ADMIN_TOKEN.

    In development without credentials, requests of this machine to a local host name pass.

    Args:
        settings: of this process.
        everywhere: guard every route this is attached to, not only those that say `opt=ADMIN`.
    """

    def __init__(self, settings: Settings, *, everywhere: bool = False) -> None:
        self._admin = settings.admin
        self._open_on_loopback = not settings.production and not settings.admin_configured
        self._everywhere = everywhere

    def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Raise unless the request may pass.

        Raises:
            NotAuthorizedException: no valid credentials (401, with a challenge for browsers).
            PermissionDeniedException: a page of another site sent the request (403).
        """
        if not (self._everywhere or handler.opt.get("admin")):
            return
        self._refuse_other_sites(connection)
        if self._open_on_loopback:
            self._require_this_machine(connection)
        elif not self._credentials_match(connection.headers.get("authorization", "")):
            raise NotAuthorizedException(
                "the admin's credentials are needed: HTTP Basic (ADMIN_USERNAME and ADMIN_PASSWORD) "
                "or bearer (ADMIN_TOKEN)",
                headers={"WWW-Authenticate": 'Basic realm="Saqueduct", charset="UTF-8"'},
            )

    def _credentials_match(self, header: str) -> bool:
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "bearer":
            return self._admin.token.matches(value.strip())
        if scheme.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        # Both are compared whatever the first says, so that the time taken tells nothing of the name.
        same_user = _same(user, self._admin.username)
        return self._admin.password.matches(password) and same_user

    def _refuse_other_sites(self, connection: Connection) -> None:
        """Browsers send Basic credentials along with requests of any page; a change must come from our own."""
        if connection.scope.get("method", "GET") in SAFE_METHODS:
            return
        if connection.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            raise PermissionDeniedException("requests of other sites are refused")

    def _require_this_machine(self, connection: Connection) -> None:
        """Without credentials: the peer is this machine, and the name it used is local (no DNS rebinding)."""
        peer = connection.client.host if connection.client else ""
        name = PORT_SUFFIX.sub("", connection.headers.get("host", "localhost")).lower()
        if not (_is_loopback(peer) and name in LOCAL_NAMES):
            raise NotAuthorizedException(
                "set ADMIN_PASSWORD to open the admin routes to other machines; without it only this one may call them"
            )


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
