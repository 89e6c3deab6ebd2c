"""The admin: who may see and change jobs.

Routes that belong to the admin say so in their options: `@post(..., opt=ADMIN)`. The guard of the application
looks for that; SAQ's UI at /saq is guarded as a whole.
"""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import logging
import time
from typing import Any, Final
from weakref import WeakValueDictionary

from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.handlers import BaseRouteHandler

from app.settings import Settings
from app.web.attempts import Attempts, client_network, too_many
from app.web.hosts import AllowedHosts
from app.web.printable import printable

logger = logging.getLogger("app.security")

ADMIN: Final[dict[str, Any]] = {"admin": True}
"""Handler options of a route that only the admin may call."""

ADMIN_SECURITY: Final[list[dict[str, list[str]]]] = [{"AdminBasic": []}, {"AdminToken": []}]
"""How such a route shows it in the OpenAPI document."""

REFUSALS_PER_MINUTE: Final = 10
"""Wrong credentials that one network may send a minute; after that right ones are refused, too."""

TRUSTED_SECONDS: Final = 5.0
"""Seconds for which a network that sent the right credentials is let pass without a look into Redis."""

FORWARDING: Final = ("x-forwarded-for", "forwarded", "x-real-ip")
"""Headers of a proxy: the peer is not who asks."""

Connection = ASGIConnection[Any, Any, Any, Any]


class AdminGuard:
    """Lets the admin pass: HTTP Basic with ADMIN_USERNAME and ADMIN_PASSWORD, or bearer with ADMIN_TOKEN.

    In development without credentials, requests of this machine to a local host name pass. A route with
    `opt={"admin": "optional"}` is open to all, and finds in `scope["state"]["admin"]` whether the admin asks; with
    "on demand", in `scope["state"]["require_admin"]` what to await before that which only the admin may do.

    Args:
        settings: of this process.
        everywhere: guard every route this is attached to, not only those that say `opt=ADMIN`.
    """

    def __init__(self, settings: Settings, *, everywhere: bool = False) -> None:
        self._admin = settings.admin
        self._open_on_loopback = not settings.production and not settings.admin_configured
        self._everywhere = everywhere
        self._trusted: dict[str, float] = {}
        """Networks that have sent the right credentials, and until when that counts."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Raise unless the request may pass.

        Raises:
            NotAuthorizedException: no valid credentials (401, with a challenge for browsers).
            TooManyRequestsException: too many wrong ones came from its network (429).
        """
        wanted = self._everywhere or handler.opt.get("admin")
        if wanted == "optional":
            connection.scope["state"]["admin"] = await self._recognize(connection)
        elif wanted == "on demand":
            connection.scope["state"]["require_admin"] = self._require
        elif wanted:
            await self._require(connection)

    async def _require(self, connection: Connection) -> None:
        if self._open_on_loopback:
            if problem := _not_of_this_machine(connection):
                _log_refusal(connection, problem)
                raise NotAuthorizedException(ONLY_THIS_MACHINE)
        elif header := connection.headers.get("authorization", ""):
            await self._check(connection, header)
        else:
            _log_refusal(connection, "no credentials", logging.INFO)
            raise _challenge()

    async def _recognize(self, connection: Connection) -> bool:
        """True for the admin, False without credentials; wrong ones are refused here, too: they are guesses."""
        if self._open_on_loopback:
            return not _not_of_this_machine(connection)
        header = connection.headers.get("authorization", "")
        if not header or (_is_access_token(header) and not self._credentials_match(header)):
            return False
        await self._check(connection, header)
        return True

    async def _check(self, connection: Connection, header: str) -> None:
        network = client_network(connection)
        # One after the other: of many guesses at once no more than the limit are compared.
        async with self._locks.setdefault(network, asyncio.Lock()):
            if self._is_trusted(network) and self._credentials_match(header):
                return
            attempts = await connection.app.state.dishka_container.get(Attempts)
            count = await attempts.so_far("admin", network)
            if count.attempts >= REFUSALS_PER_MINUTE:
                _log_refusal(connection, "too many wrong credentials")
                raise too_many(count)
            if self._credentials_match(header):
                self._trusted[network] = time.monotonic() + TRUSTED_SECONDS
                return
            self._trusted.pop(network, None)
            await attempts.count("admin", network)
            _log_refusal(connection, "wrong credentials")
            raise _challenge()

    def _is_trusted(self, network: str) -> bool:
        return self._trusted.get(network, 0.0) > time.monotonic()

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


def _not_of_this_machine(connection: Connection) -> str:
    """Why a request is not of this machine; empty: it is, by a local host name (no DNS rebinding) and no proxy."""
    if not _is_loopback(connection.client.host if connection.client else ""):
        return "from another machine"
    if any(name in connection.headers for name in FORWARDING):
        return "forwarded by a proxy"
    return "" if connection.headers.get("host", "").encode("latin-1") in LOCAL_HOSTS else "by another host name"


def _is_access_token(header: str) -> bool:
    """True for a bearer token with the form of a user's, which clients send with every request."""
    return header[:7].lower() == "bearer " and header.count(".") == 2


LOCAL_HOSTS = AllowedHosts(())

ONLY_THIS_MACHINE = (
    "set ADMIN_PASSWORD to open the admin routes to other machines; without it only this one may call them"
)


def _challenge() -> NotAuthorizedException:
    return NotAuthorizedException(
        "the admin's credentials are needed: HTTP Basic (ADMIN_USERNAME and ADMIN_PASSWORD) or bearer (ADMIN_TOKEN)",
        headers={"WWW-Authenticate": 'Basic realm="Saqueduct", charset="UTF-8"'},
    )


def _log_refusal(connection: Connection, reason: str, level: int = logging.WARNING) -> None:
    """One line, without anything that was sent but method and path."""
    client = connection.client.host if connection.client else "unknown"
    method, path = str(connection.scope.get("method", "WEBSOCKET")), connection.scope["path"]
    logger.log(level, "admin refused: %s %s from %s: %s", printable(method), printable(path), printable(client), reason)


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
