"""How people enter the console; the plugin says it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.types import Guard

from saqueduct.common.people import Person

Connection = ASGIConnection[Any, Any, Any, Any]


class FormTokens(Protocol):
    """Makes and checks the tokens of forms, so that no other site can send one."""

    def csrf_token(self, connection: Connection, person: Person) -> str: ...
    def is_csrf_token(self, connection: Connection, person: Person, given: str) -> bool: ...


class Session(Protocol):
    """A session of a browser that has not ended."""

    @property
    def person(self) -> Person: ...


class Sessions(FormTokens, Protocol):
    """Sessions of browsers, in cookies."""

    def begin(self, connection: Connection, person: Person) -> Cookie: ...
    def end(self, connection: Connection) -> Cookie: ...
    def read(self, connection: Connection) -> Session | None: ...
    def visitor(self, connection: Connection) -> tuple[str, Cookie]: ...
    def is_visitor_token(self, connection: Connection, given: str) -> bool: ...


class SignIn(Protocol):
    """Checks names and passwords."""

    @property
    def takes_passwords(self) -> bool: ...
    async def sign_in(self, connection: Connection, name: str, password: str) -> Person: ...


class ConsoleEntry(NamedTuple):
    """Who may enter, and what their forms carry."""

    guards: Sequence[Guard]
    """Asked in this order, before each handler that is not public; they read its option `role`."""
    person_of: Callable[[Connection], Person | None]
    """Who sent a request that the guards have let pass."""
    tokens: Sessions
    """Sessions of browsers, and the tokens of their forms."""
    sign_in: SignIn
    """Checks the names and passwords of the login page."""
    is_open: bool = False
    """True when everyone on this machine may do everything, because nothing is set to sign in with."""
    beside: Sequence[str] = ()
    """Paths of other pages for which people sign in here, such as "/saq"."""
