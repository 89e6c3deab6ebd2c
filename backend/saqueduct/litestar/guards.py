"""Guards of the routes that only the admin may call.

A route that belongs to the admin says so in its options, `@post(..., opt=ADMIN)`; `AdminRoutes` looks for that. An
`AdminGuard` alone guards every route that it is attached to, such as SAQ's UI.
"""

import asyncio
import base64
import binascii
import dataclasses
import hmac
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Self, cast
from weakref import WeakValueDictionary

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import Guard
from litestar.utils import ensure_async_callable

from saqueduct.common.secret import Secret
from saqueduct.common.text import loggable
from saqueduct.litestar.attempts import Attempts, client_network, too_many
from saqueduct.litestar.hosts import AllowedHosts
from saqueduct.litestar.origins import SAFE_METHODS, is_foreign

logger = logging.getLogger("saqueduct.security")

ADMIN: Final[dict[str, Any]] = {"admin": True}
"""Handler options of a route that only the admin may call."""

REQUIRE: Final = "require_admin"
"""Option of a handler that requires the admin on demand: lets a connection of the admin pass, or raises."""

ADMIN_SECURITY: Final[list[dict[str, list[str]]]] = [{"AdminBasic": []}, {"AdminToken": []}]
"""How the OpenAPI document describes the credentials of such a route."""

REFUSALS_PER_MINUTE: Final = 10
"""Wrong credentials that one network may send a minute; after that correct ones are refused, too."""

TRUSTED_SECONDS: Final = 5.0
"""Seconds for which a network that sent correct credentials passes without asking Redis."""

FORWARDING: Final = ("x-forwarded-for", "forwarded", "x-real-ip")
"""Headers of a proxy: the peer is not the client."""

Connection = ASGIConnection[Any, Any, Any, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdminCredentials:
    """The admin's credentials. Without a password HTTP Basic is off, without a token bearer is."""

    username: str = "admin"
    """User name for HTTP Basic."""
    password: Secret = Secret("")
    """Password for HTTP Basic."""
    token: Secret = Secret("")
    """Bearer token."""

    def __bool__(self) -> bool:
        """True when there are credentials that pass."""
        return bool(self.password or self.token)


class Shared:
    """A guard that stays a single object: Litestar makes deep copies of routers, including their guards."""

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self


class AllOf(Shared):
    """Several guards as one: all must let a request pass.

    Args:
        guards: asked in this order.
    """

    def __init__(self, guards: Sequence[Guard]) -> None:
        self._guards = [cast("Callable[..., Awaitable[None]]", ensure_async_callable(guard)) for guard in guards]

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Raise unless the request may pass."""
        for guard in self._guards:
            await guard(connection, handler)


async def same_site(connection: Connection, _: BaseRouteHandler) -> None:
    """A guard that refuses changes from pages of other sites; see `is_foreign`.

    Raises:
        PermissionDeniedException: such a page sent the request.
    """
    scope = connection.scope
    if scope.get("method") not in SAFE_METHODS and is_foreign(dict(scope["headers"])):
        raise PermissionDeniedException("requests from other sites are refused")


def past_middleware(guards: Sequence[Guard]) -> dict[str, Any]:
    """Options of handlers behind these guards and `same_site`, for middleware of the application.

    `same_site` replaces CSRF tokens, which programs do not have. An `AdminGuard` reads its own credentials, which the
    application's authentication would refuse.
    """
    own = any(isinstance(guard, AdminGuard) for guard in guards)
    return {"exclude_from_csrf": True} | ({"exclude_from_auth": True} if own else {})


class AdminRoutes(Shared):
    """A guard that applies other guards to the routes of the admin only.

    The option `admin` of a handler says what it needs:

    - True: the guards, before the handler.
    - "optional": open to all; `scope["state"]["admin"]` says whether the caller is the admin.
    - "on demand": the handler awaits `handler.opt[REQUIRE](connection)` before what only the admin may do.

    The plugin removes it from the handlers that need none of this, see `decide`.

    Args:
        guards: of the admin: one `AdminGuard`, or guards of the application, all of which must let a request pass.
    """

    def __init__(self, guards: Sequence[Guard]) -> None:
        alone = guards[0] if len(guards) == 1 else None
        self._admin = alone if isinstance(alone, AdminGuard) else None
        self._require = AllOf(guards)

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Raise unless the request may pass.

        Raises:
            NotAuthorizedException, PermissionDeniedException, TooManyRequestsException: by a guard.
        """
        wanted = handler.opt.get("admin")
        if wanted == "optional":
            connection.scope["state"]["admin"] = await self._recognize(connection, handler)
        elif wanted == "on demand":
            self._offer(handler)
        elif wanted:
            await self._require(connection, handler)

    def is_needed(self, handler: BaseRouteHandler) -> bool:
        """False for a handler whose requests all pass; if it requires the admin on demand, it is given what it needs
        for that."""
        wanted = handler.opt.get("admin")
        if wanted == "on demand":
            self._offer(handler)
            return False
        return bool(wanted)

    def _offer(self, handler: BaseRouteHandler) -> None:
        handler.opt.setdefault(REQUIRE, partial(self._require, handler=handler))

    async def _recognize(self, connection: Connection, handler: BaseRouteHandler) -> bool:
        if self._admin is not None:
            return await self._admin.recognize(connection)
        try:
            await self._require(connection, handler)
        except (NotAuthorizedException, PermissionDeniedException):
            return False
        return True


def decide(app: Litestar) -> None:
    """Remove `AdminRoutes` from the handlers of a built application whose requests it lets pass.

    Litestar 2.25 copies the handler for each guard of each request: 20 us. Without this call all is the same, but
    slower.
    """
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            guards = handler.resolve_guards()
            guards[:] = [each for each in guards if not isinstance(each, AdminRoutes) or each.is_needed(handler)]


class AdminGuard(Shared):
    """Lets the admin pass: HTTP Basic with user name and password, or bearer with the token.

    Args:
        credentials: of the admin.
        attempts: counts wrong credentials.
        production: False and no credentials: requests of this machine to a local host name pass.
    """

    def __init__(self, credentials: AdminCredentials, attempts: Attempts, *, production: bool) -> None:
        self._admin = credentials
        self._attempts = attempts
        self._open_on_loopback = not production and not credentials
        self._trusted: dict[str, float] = {}
        """Networks that have sent correct credentials, and until when that counts."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, connection: Connection, _: BaseRouteHandler) -> None:
        """Raise unless the request may pass.

        Raises:
            NotAuthorizedException: no valid credentials (401, with a challenge for browsers).
            TooManyRequestsException: too many wrong ones came from its network (429).
        """
        if self._open_on_loopback:
            if problem := _not_of_this_machine(connection):
                _log_refusal(connection, problem)
                raise NotAuthorizedException(ONLY_THIS_MACHINE)
        elif header := connection.headers.get("authorization", ""):
            await self._check(connection, header)
        else:
            _log_refusal(connection, "no credentials", logging.INFO)
            raise _challenge()

    async def recognize(self, connection: Connection) -> bool:
        """True for the admin, False without credentials.

        Raises:
            NotAuthorizedException, TooManyRequestsException: wrong credentials, which count as guesses here, too.
        """
        if self._open_on_loopback:
            return not _not_of_this_machine(connection)
        header = connection.headers.get("authorization", "")
        if not header or (_is_access_token(header) and not self._credentials_match(header)):
            return False
        await self._check(connection, header)
        return True

    async def _check(self, connection: Connection, header: str) -> None:
        network = client_network(connection)
        # One after the other: of many concurrent guesses no more than the limit are compared.
        async with self._locks.setdefault(network, asyncio.Lock()):
            if self._is_trusted(network) and self._credentials_match(header):
                return
            count = await self._attempts.so_far("admin", network)
            if count.attempts >= REFUSALS_PER_MINUTE:
                _log_refusal(connection, "too many wrong credentials")
                raise too_many(count)
            if self._credentials_match(header):
                self._trusted[network] = time.monotonic() + TRUSTED_SECONDS
                return
            self._trusted.pop(network, None)
            await self._attempts.count("admin", network)
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
        # Both are compared in any case, so that the time taken reveals nothing about the name.
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
    """One line, with nothing from the request but method and path."""
    client = connection.client.host if connection.client else "unknown"
    method, path = str(connection.scope.get("method", "WEBSOCKET")), connection.scope["path"]
    logger.log(level, "admin refused: %s %s from %s: %s", loggable(method), loggable(path), loggable(client), reason)


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
