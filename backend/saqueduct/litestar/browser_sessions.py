"""Sessions of browsers: signed cookies, of which nothing is stored.

The cookie holds name, role and end, and depends on the person's credentials: a changed password or role ends their
sessions. `SECRET_KEY` signs it; another one ends all.
"""

import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec
from litestar.datastructures import Cookie

from saqueduct.common.people import Person, Role
from saqueduct.common.secret import Secret
from saqueduct.litestar.refusals import Connection

NAME: Final = "saqueduct_session"
"""Name of the cookie; over HTTPS `__Host-saqueduct_session`, which no other host of the domain can set."""

VISITOR: Final = "saqueduct_visitor"
"""Name of the cookie of a browser whose person has not signed in, with `__Host-` as well."""

LONGEST_COOKIE: Final = 2_048
"""Characters of a cookie that is read."""


class BrowserSession(NamedTuple):
    """A session that has not ended."""

    id: str
    person: Person
    ends: float
    """Epoch seconds."""


class _Payload(msgspec.Struct, array_like=True):
    id: str
    name: str
    role: Role
    ends: int


class BrowserSessions:
    """Makes and reads the cookies of sessions.

    Args:
        secret: SECRET_KEY.
        lifetime: seconds after which a session ends.
        proof: changes with the credentials of a person; empty: they have none, and so no session.
    """

    def __init__(self, secret: Secret, lifetime: float, proof: Callable[[Person], str]) -> None:
        self._key = hmac.digest(secret.reveal().encode(), b"sessions of browsers", "sha256")
        self._lifetime = lifetime
        self._proof = proof

    def begin(self, connection: Connection, person: Person) -> Cookie:
        """The cookie of a new session, for the response to a login.

        Raises:
            ValueError: the person has no credentials in the settings.
        """
        if not self._proof(person):
            raise ValueError(f"{person.name} has no credentials in the settings, and so no session of a browser")
        ends = int(time.time() + self._lifetime)
        payload = msgspec.json.encode(_Payload(secrets.token_urlsafe(16), person.name, person.role, ends))
        value = f"{_text(payload)}.{_text(self._signature(payload, person))}"
        return _cookie(connection, NAME, value, int(self._lifetime))

    def end(self, connection: Connection) -> Cookie:
        """The cookie that removes the session from the browser, for the response to a logout."""
        return _cookie(connection, NAME, "", 0)

    def read(self, connection: Connection) -> BrowserSession | None:
        """The session of a request; None: it has none, or one that has ended or was not made here."""
        payload_text, _, signature = connection.cookies.get(_name(connection, NAME), "")[:LONGEST_COOKIE].partition(".")
        try:
            payload = _bytes(payload_text)
            found = msgspec.json.decode(payload, type=_Payload)
            person = Person(found.name, found.role)
            given = _bytes(signature)
        except (ValueError, binascii.Error, msgspec.MsgspecError):
            return None
        proven = self._proof(person) and hmac.compare_digest(self._signature(payload, person), given)
        return BrowserSession(found.id, person, found.ends) if proven and time.time() < found.ends else None

    def csrf_token(self, connection: Connection, person: Person) -> str:
        """The token that each form of a page for this person must send back.

        It belongs to the person, and to their session if they have one. The cookie of somebody else does not count
        where a browser or a proxy sends the credentials by itself.
        """
        session = self.read(connection)
        of_session = session.id if session and session.person == person else ""
        return self._token("person", person.name, person.role, of_session)

    def is_csrf_token(self, connection: Connection, person: Person, given: str) -> bool:
        """True for the token of `csrf_token`; compared in constant time."""
        return _same(self.csrf_token(connection, person), given)

    def visitor(self, connection: Connection) -> tuple[str, Cookie]:
        """For the form of a login: its token, and the cookie to which the token belongs.

        Without it a page of another site could sign a browser in as somebody else.
        """
        value = self._visitor(connection) or secrets.token_urlsafe(16)
        return self._token("visitor", value), _cookie(connection, VISITOR, value, None)

    def is_visitor_token(self, connection: Connection, given: str) -> bool:
        """True for the token of `visitor`, sent with its cookie."""
        value = self._visitor(connection)
        return bool(value) and _same(self._token("visitor", value), given)

    def _visitor(self, connection: Connection) -> str:
        return connection.cookies.get(_name(connection, VISITOR), "")[:LONGEST_COOKIE]

    def _token(self, *owner: str) -> str:
        return _text(hmac.digest(self._key, "\0".join(("csrf", *owner)).encode("utf-8", "replace"), "sha256"))

    def _signature(self, payload: bytes, person: Person) -> bytes:
        return hmac.digest(self._key, payload + b"\0" + self._proof(person).encode(), "sha256")


def _cookie(connection: Connection, name: str, value: str, seconds: int | None) -> Cookie:
    return Cookie(
        key=_name(connection, name),
        value=value,
        max_age=seconds,
        path="/",
        secure=_is_secure(connection),
        httponly=True,
        samesite="lax",
    )


def _same(token: str, given: str) -> bool:
    return hmac.compare_digest(token.encode(), given.encode("utf-8", "replace"))


def _is_secure(connection: Connection) -> bool:
    return connection.scope["scheme"] in ("https", "wss")


def _name(connection: Connection, name: str) -> str:
    return f"__Host-{name}" if _is_secure(connection) else name


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
