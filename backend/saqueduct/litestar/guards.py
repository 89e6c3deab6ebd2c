"""Guards of the routes that need a role.

A route says which in its options, `@post(..., opt=OPERATOR)`; `RoleGuard` looks for that. The person is then in the
state of the request, see `person_of`.
"""

from functools import partial
from typing import Any, Final

from litestar import Litestar
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.routes import HTTPRoute

from saqueduct.common.people import Person, Role
from saqueduct.litestar.access import Access, Shared
from saqueduct.litestar.origins import SAFE_METHODS, is_foreign
from saqueduct.litestar.refusals import Connection

ROLE: Final = "role"
"""Option of a handler: the role that it needs."""

WHEN: Final = "role_is_needed"
"""Option of a handler: "always" by default, "optional" or "on demand", see `RoleGuard`."""

REQUIRE: Final = "require_role"
"""Option of a handler that requires its role on demand: returns the person of a connection, or raises."""

VIEWER: Final[dict[str, Any]] = {ROLE: Role.VIEWER}
OPERATOR: Final[dict[str, Any]] = {ROLE: Role.OPERATOR}
ADMIN: Final[dict[str, Any]] = {ROLE: Role.ADMIN}
"""Handler options of a route that only people with this role may call."""

SCHEMES: Final = ("AdminBasic", "AdminToken")
"""Names of the credentials in the OpenAPI document."""


def security(role: Role) -> list[dict[str, list[str]]]:
    """How the OpenAPI document describes who may call a route that needs this role."""
    return [{name: [role.value]} for name in SCHEMES]


ADMIN_SECURITY: Final = security(Role.ADMIN)
"""The same for a route of the admin."""


async def same_site(connection: Connection, _: BaseRouteHandler) -> None:
    """A guard that refuses changes from pages of other sites; see `is_foreign`.

    Raises:
        PermissionDeniedException: such a page sent the request.
    """
    scope = connection.scope
    if scope.get("method") not in SAFE_METHODS and is_foreign(dict(scope["headers"])):
        raise PermissionDeniedException("requests from other sites are refused")


def past_middleware(access: Access) -> dict[str, Any]:
    """Options of handlers behind `same_site` and these guards, for middleware of the application.

    `same_site` replaces CSRF tokens, which programs do not have. Credentials of the settings would be refused by the
    application's authentication, so it is left out unless the application itself recognizes people.
    """
    return {"exclude_from_csrf": True} | ({} if access.is_of_application else {"exclude_from_auth": True})


class RoleGuard(Shared):
    """Lets those pass whose role is enough for a route.

    The option `role` of a handler says which one it needs, and `role_is_needed` when:

    - "always", by default: before the handler.
    - "optional": open to all; `person_of` says whether somebody is signed in, who then needs the role to be seen.
    - "on demand": the handler awaits `handler.opt[REQUIRE](connection)` before what needs the role.

    The plugin removes it from the handlers that need none of this, see `decide`.

    Args:
        access: recognizes people.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Raise unless the request may pass.

        Raises:
            NotAuthorizedException, PermissionDeniedException, TooManyRequestsException: see `Access.require`.
        """
        role, when = handler.opt.get(ROLE), handler.opt.get(WHEN)
        if when == "optional":
            await self._access.recognize(connection)
        elif when == "on demand":
            self._offer(handler)
        elif role is not None:
            await self._access.require(connection, Role(role))

    def is_needed(self, handler: BaseRouteHandler) -> bool:
        """False for a handler whose requests all pass; if it requires its role on demand, it is given what it needs
        for that."""
        if handler.opt.get(WHEN) == "on demand":
            self._offer(handler)
            return False
        return handler.opt.get(ROLE) is not None

    def _offer(self, handler: BaseRouteHandler) -> None:
        handler.opt.setdefault(REQUIRE, partial(self._access.require, role=Role(handler.opt[ROLE])))


class MethodGuard(Shared):
    """Lets viewers read, and operators change: for routes without options of their own, such as those of SAQ's UI.

    Args:
        access: recognizes people.
    """

    def __init__(self, access: Access) -> None:
        self.access = access

    async def __call__(self, connection: Connection, _: BaseRouteHandler) -> None:
        """Raise unless the request may pass.

        Raises:
            NotAuthorizedException, PermissionDeniedException, TooManyRequestsException: see `Access.require`.
        """
        reads = connection.scope.get("method") in SAFE_METHODS
        await self.access.require(connection, Role.VIEWER if reads else Role.OPERATOR)


async def require_role(connection: Connection) -> Person:
    """In a handler with `role_is_needed` "on demand": the person, if their role is enough.

    Raises:
        NotAuthorizedException, PermissionDeniedException, TooManyRequestsException: see `Access.require`.
    """
    person: Person = await connection.route_handler.opt[REQUIRE](connection)
    return person


def decide(app: Litestar) -> None:
    """Remove `RoleGuard` from the handlers of a built application whose requests it lets pass.

    Litestar 2.25 copies the handler for each guard of each request: 20 us. Without this call all is the same, but
    slower.
    """
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            guards = handler.resolve_guards()
            guards[:] = [each for each in guards if not isinstance(each, RoleGuard) or each.is_needed(handler)]
