"""Who sent a request, and what their role lets them do."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Self, cast

from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard
from litestar.utils import ensure_async_callable

from saqueduct.common.people import NOBODY, Person, Role
from saqueduct.common.secret import Secret
from saqueduct.config import SaqueductConfig
from saqueduct.errors import ConfigurationError
from saqueduct.litestar.attempts import Attempts
from saqueduct.litestar.browser_sessions import BrowserSessions
from saqueduct.litestar.credentials import SIGN_IN, AdminCredentials, CredentialCheck
from saqueduct.litestar.origins import SAFE_METHODS, is_foreign
from saqueduct.litestar.peers import TrustedProxies, not_of_this_machine
from saqueduct.litestar.refusals import CHALLENGE, Connection, RoleNeeded, SignInNeeded, log_refusal
from saqueduct.queue.queue import EngineQueue

PERSON: Final = "person"
"""Key of the state of a request: the `Person` who sent it, once a guard has recognized them."""

Identify = Callable[[Connection], Person | Awaitable[Person | None] | None]
"""A function of the application: the person of a request, or None if the application knows nobody."""

ONLY_THIS_MACHINE: Final = (
    "set ADMIN_PASSWORD to open the admin routes to other machines; without it only this one may call them"
)


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


class ProxyHeaders:
    """The person that a proxy names in headers, for those who have signed in there.

    Args:
        proxies: whose headers count.
        user: header with the name.
        role: header with the role, or with groups of which one is named like a role; empty: all are viewers.
    """

    def __init__(self, proxies: TrustedProxies, user: str, role: str) -> None:
        self._proxies = proxies
        self._user, self._role = user.lower().encode(), role.lower().encode()

    def is_untrusted(self, connection: Connection) -> bool:
        """True when a request has the header and does not come from such a proxy."""
        return any(name == self._user for name, _ in connection.scope["headers"]) and not self._proxies.sent(connection)

    def __call__(self, connection: Connection) -> Person | None:
        """The person; None: the proxy names nobody, or the request does not come from it."""
        names = self._values(connection, self._user)
        if len(names) != 1 or not names[0] or not self._proxies.sent(connection):
            return None
        words = {word.strip() for value in self._values(connection, self._role) for word in value.split(",")}
        role = next((role for role in reversed(Role) if role in words), Role.VIEWER)
        try:
            return Person(names[0], role)
        except ValueError:
            return None

    def _values(self, connection: Connection, header: bytes) -> list[str]:
        return [
            value.decode("utf-8", "replace").strip() for name, value in connection.scope["headers"] if name == header
        ]


class Access(Shared):
    """Recognizes people, and checks their roles.

    Args:
        credentials: those of the settings.
        sessions: of browsers.
        guards: of the application: whoever passes them may do everything, and nothing else counts.
        identify: function of the application.
        proxy: reads the headers of a proxy.
        production: False and no way to sign in: requests of this machine to a local host name may do everything.
    """

    def __init__(
        self,
        credentials: CredentialCheck,
        sessions: BrowserSessions,
        *,
        guards: Sequence[Guard] | None = None,
        identify: Identify | None = None,
        proxy: ProxyHeaders | None = None,
        production: bool,
    ) -> None:
        if guards is not None and not guards:
            raise ConfigurationError("the queue has no guards, so that anyone could change jobs: give guards")
        self.sessions = sessions
        self._credentials = credentials
        self._guards = AllOf(guards) if guards else None
        self._identify = identify
        self._proxy = proxy
        self.is_open = not (production or credentials or guards or identify or proxy)
        """True when this machine may do everything, and no other machine may do anything."""

    @property
    def takes_credentials(self) -> bool:
        """True when requests may have credentials of the settings, or need none."""
        return bool(self._credentials) or self.is_open

    @property
    def takes_passwords(self) -> bool:
        """True when people can sign in on a login page."""
        return self._guards is None and self._credentials.takes_passwords

    @property
    def is_of_application(self) -> bool:
        """True when the application recognizes people, by its authentication for example."""
        return self._guards is not None or self._identify is not None

    async def require(self, connection: Connection, role: Role) -> Person:
        """The person of a request; kept in its state.

        Raises:
            NotAuthorizedException: nobody is signed in, or with wrong credentials (401).
            PermissionDeniedException: the role is not enough (403).
            TooManyRequestsException: too many wrong credentials came from its network (429).
        """
        person = await self._find(connection, role)
        if person is None:
            raise self._refused(connection, role)
        if not person.role.includes(role):
            log_refusal(connection, f"{person.name} has the role {person.role}, {role} is needed")
            raise RoleNeeded(role, person)
        connection.scope["state"][PERSON] = person
        return person

    async def recognize(self, connection: Connection) -> Person | None:
        """The person of a request, kept in its state; None: nobody is signed in.

        Raises:
            NotAuthorizedException, TooManyRequestsException: wrong credentials, which count as guesses here, too.
        """
        header = connection.headers.get("authorization", "")
        if header and self._guards is None and self._credentials.is_foreign_token(header):
            person = await self._named_by_others(connection) or self._by_session(connection)
        else:
            try:
                person = await self._find(connection, None)
            except (NotAuthorizedException, PermissionDeniedException):
                if self._guards is None:
                    raise
                person = None
        connection.scope["state"][PERSON] = person
        return person

    async def sign_in(self, connection: Connection, name: str, password: str) -> Person:
        """The person of a login page; answer with the cookie of `sessions.begin`.

        Raises:
            NotAuthorizedException, TooManyRequestsException: wrong credentials (401, 429).
        """
        return await self._credentials.of_password(connection, name, password)

    async def _find(self, connection: Connection, needed: Role | None) -> Person | None:
        if self._guards is not None:
            await self._guards(connection, connection.route_handler)
            return NOBODY
        if self.is_open:
            if not_of_this_machine(connection):
                return None
            _refuse_foreign(connection)
            return NOBODY
        if (person := await self._named_by_others(connection)) is not None:
            return person
        if self._credentials and (header := connection.headers.get("authorization", "")):
            person = await self._credentials.of_header(connection, header, needed)
            _refuse_foreign(connection)
            return person
        return self._by_session(connection)

    async def _named_by_others(self, connection: Connection) -> Person | None:
        """The person whom the application or a proxy names."""
        if self._identify is not None:
            found = self._identify(connection)
            person = await found if inspect.isawaitable(found) else found
            if person is not None:
                return _checked(person)
        if self._proxy is None or (person := self._proxy(connection)) is None:
            return None
        _refuse_foreign(connection)
        return person

    def _by_session(self, connection: Connection) -> Person | None:
        if (session := self.sessions.read(connection)) is None:
            return None
        _refuse_foreign(connection)
        return session.person

    def _refused(self, connection: Connection, role: Role) -> SignInNeeded:
        if self.is_open:
            log_refusal(connection, not_of_this_machine(connection))
            return SignInNeeded(role, ONLY_THIS_MACHINE)
        if self._proxy is not None and self._proxy.is_untrusted(connection):
            log_refusal(connection, "the header of a proxy from an address that is not trusted")
        else:
            log_refusal(connection, "no credentials", logging.INFO)
        if not self._credentials:
            return SignInNeeded(role, "sign in to this application, or at its proxy")
        return SignInNeeded(role, SIGN_IN, CHALLENGE)


def person_of(connection: Connection) -> Person | None:
    """The person of a request that a guard has let pass; None: nobody is signed in."""
    person: Person | None = connection.scope["state"].get(PERSON)
    return person


def build_access(config: SaqueductConfig, queue: EngineQueue, signing_key: Secret) -> Access:
    """As the settings say.

    Args:
        config: of the application.
        queue: in whose Redis wrong credentials are counted.
        signing_key: signs the sessions of browsers.
    """
    admin = AdminCredentials(
        username=config.admin_username, password=Secret(config.admin_password), token=Secret(config.admin_token)
    )
    credentials = CredentialCheck(admin, config.people, Attempts(queue, signing_key))
    proxy = None
    if config.proxy_user_header:
        proxies = TrustedProxies(config.trusted_proxies)
        proxy = ProxyHeaders(proxies, config.proxy_user_header, config.proxy_role_header)
    return Access(
        credentials,
        BrowserSessions(signing_key, config.session_hours * 3600.0, credentials.proof),
        guards=config.guards,
        identify=config.identify,
        proxy=proxy,
        production=config.production,
    )


def _refuse_foreign(connection: Connection) -> None:
    """Refuse changes from pages of other sites, also on routes of the application that do not check this.

    A browser sends by itself the cookie of a session, a password that it remembers, what a proxy knows it by, and the
    address of this machine.

    Raises:
        PermissionDeniedException: such a page sent the request.
    """
    scope = connection.scope
    if scope.get("method") not in SAFE_METHODS and is_foreign(dict(scope["headers"])):
        log_refusal(connection, "a page of another site sent it")
        raise PermissionDeniedException("requests from other sites are refused")


def _checked(person: Person) -> Person:
    if not isinstance(person, Person):
        raise TypeError(f"identify must return a saqueduct Person or None, not {type(person).__name__}")
    return person
