"""How people enter the console; the plugin says it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from litestar.connection import ASGIConnection
from litestar.types import Guard

from saqueduct.common.people import Person

Connection = ASGIConnection[Any, Any, Any, Any]


class FormTokens(Protocol):
    """Makes and checks the tokens of forms, so that no other site can send one."""

    def csrf_token(self, connection: Connection, person: Person) -> str: ...
    def is_csrf_token(self, connection: Connection, person: Person, given: str) -> bool: ...


class Entry(NamedTuple):
    """Who may enter, and what their forms carry."""

    guards: Sequence[Guard]
    """Asked in this order, before each handler that is not public; they read its option `role`."""
    person_of: Callable[[Connection], Person | None]
    """Who sent a request that the guards have let pass."""
    tokens: FormTokens
