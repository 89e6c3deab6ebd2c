"""Checks the credentials of requests: HTTP Basic, bearer tokens, and the form of a login page.

Wrong ones are counted by network, all kinds together; see `Attempts`.
"""

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from weakref import WeakValueDictionary

from saqueduct.broker.outage import note_silence
from saqueduct.common.credentials import Credential
from saqueduct.common.password_hash import hash_token, matches
from saqueduct.common.people import Person, Role
from saqueduct.common.secret import Secret
from saqueduct.litestar.attempts import Attempts, client_network, too_many
from saqueduct.litestar.refusals import CHALLENGE, Connection, SignInNeeded, log_refusal

REFUSALS_PER_MINUTE: Final = 10
"""Wrong credentials that one network may send a minute; after that correct ones are refused, too."""

TRUSTED_SECONDS: Final = 5.0
"""Seconds for which a network that sent correct credentials passes without asking Redis."""

REMEMBERED: Final = 1_000
"""Most correct passwords whose slow hash is not computed again."""

LONGEST_PASSWORD: Final = 1_024
"""Characters of a password that is compared."""

SIGN_IN: Final = "sign in with HTTP Basic or a bearer token: ADMIN_PASSWORD, ADMIN_TOKEN or ADMIN_CREDENTIALS"

# Each takes 32 MiB and a processor for a fifth of a second: no more than two at the same time.
_HASHING = ThreadPoolExecutor(2, thread_name_prefix="saqueduct-passwords")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdminCredentials:
    """The admin's credentials. Without a password HTTP Basic is off for the admin, without a token bearer is."""

    username: str = "admin"
    """User name for HTTP Basic."""
    password: Secret = Secret("")
    """Password for HTTP Basic."""
    token: Secret = Secret("")
    """Bearer token."""

    def __bool__(self) -> bool:
        """True when there are credentials that pass."""
        return bool(self.password or self.token)


class CredentialCheck:
    """Finds the person of a header, or of a name and a password.

    Args:
        admin: the shared credentials of the admin.
        people: the credentials of named people.
        attempts: counts wrong credentials.
    """

    def __init__(self, admin: AdminCredentials, people: Iterable[Credential], attempts: Attempts) -> None:
        self._admin = admin
        self._person = Person(admin.username, Role.ADMIN)
        found = list(people)
        self._tokens = [each for each in found if each.is_token]
        self._passwords = {each.name: each for each in found if not each.is_token}
        self._attempts = attempts
        self._trusted: dict[str, float] = {}
        """Networks that have sent correct credentials, and until when that counts."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._key = secrets.token_bytes(32)
        self._correct: OrderedDict[bytes, None] = OrderedDict()
        """Digests of names and passwords that were correct."""

    def __bool__(self) -> bool:
        """True when there are credentials that pass."""
        return bool(self._admin or self._tokens or self._passwords)

    @property
    def takes_passwords(self) -> bool:
        """True when a name and a password can pass."""
        return bool(self._admin.password or self._passwords)

    async def of_header(self, connection: Connection, header: str, needed: Role | None = None) -> Person:
        """The person of an `Authorization` header.

        Args:
            connection: of the request.
            header: its value.
            needed: role that the error names.

        Raises:
            SignInNeeded: wrong credentials.
            TooManyRequestsException: too many wrong ones came from its network (429).
        """
        return await self._limited(connection, lambda: self._of_header(header), needed)

    async def of_password(self, connection: Connection, name: str, password: str) -> Person:
        """The person with a name and a password, for a login page.

        Raises:
            SignInNeeded, TooManyRequestsException: as `of_header`.
        """
        return await self._limited(connection, lambda: self._of_password(name, password), None)

    def is_foreign_token(self, header: str) -> bool:
        """True for a bearer token with the form of a JWT that is none of these: clients of the application send theirs
        with every request, and guess nothing."""
        is_jwt = header[:7].lower() == "bearer " and header.count(".") == 2
        return is_jwt and self._of_token(header[7:].strip()) is None

    def proof(self, person: Person) -> str:
        """Changes with the credentials of a person; empty: there are none."""
        found = [each.hash for each in (*self._passwords.values(), *self._tokens) if each.person == person]
        if person == self._person:
            found += [secret.reveal() for secret in (self._admin.password, self._admin.token) if secret]
        return hashlib.sha256("\0".join(found).encode()).hexdigest() if found else ""

    async def _limited(
        self, connection: Connection, find: Callable[[], Awaitable[Person | None]], needed: Role | None
    ) -> Person:
        network, began = client_network(connection), asyncio.get_running_loop().time()
        # One after the other: of many concurrent guesses no more than the limit are compared.
        async with self._locks.setdefault(network, asyncio.Lock()):
            trusted = self._trusted.get(network, 0.0) > time.monotonic()
            if not trusted:
                await self._refuse_too_many(connection, network)
            if self._attempts.away:
                # This one, or the one before, for which it waited, got no answer of Redis.
                note_silence(began)
            if (person := await find()) is not None:
                if not trusted:
                    self._trusted[network] = time.monotonic() + TRUSTED_SECONDS
                return person
            self._trusted.pop(network, None)
            if trusted:
                await self._refuse_too_many(connection, network)
            await self._attempts.count("admin", network)
            log_refusal(connection, "wrong credentials")
            raise SignInNeeded(needed, SIGN_IN, CHALLENGE)

    async def _refuse_too_many(self, connection: Connection, network: str) -> None:
        count = await self._attempts.so_far("admin", network)
        if count.attempts >= REFUSALS_PER_MINUTE:
            log_refusal(connection, "too many wrong credentials")
            raise too_many(count)

    async def _of_header(self, header: str) -> Person | None:
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "bearer":
            return self._of_token(value.strip())
        if scheme.lower() != "basic":
            return None
        try:
            name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            # Characters that base64 does not have, among them those beyond ASCII, or bytes that are not UTF-8.
            return None
        return await self._of_password(name, password)

    def _of_token(self, token: str) -> Person | None:
        # All are compared in any case, so that the time taken reveals nothing.
        found = self._person if self._admin.token.matches(token) else None
        hashed = hash_token(token)
        for each in self._tokens:
            if _same(each.hash, hashed):
                found = each.person
        return found

    async def _of_password(self, name: str, password: str) -> Person | None:
        if len(password) > LONGEST_PASSWORD or not _is_text(name + password):
            return None
        # Both are compared in any case, so that the time taken reveals nothing about the name.
        same_name = _same(name, self._admin.username)
        if self._admin.password.matches(password) and same_name:
            return self._person
        if not self._passwords:
            return None
        # The hash of somebody else takes the time for a name that does not exist.
        credential = self._passwords.get(name)
        compared = credential or next(iter(self._passwords.values()))
        return compared.person if await self._is_correct(name, password, compared) and credential else None

    async def _is_correct(self, name: str, password: str, credential: Credential) -> bool:
        digest = hmac.digest(self._key, f"{name}\0{password}".encode(), "sha256")
        if digest in self._correct:
            self._correct.move_to_end(digest)
            return True
        loop = asyncio.get_running_loop()
        correct = await loop.run_in_executor(_HASHING, matches, password, credential.hash)
        if correct and credential.name == name:
            self._correct[digest] = None
            if len(self._correct) > REMEMBERED:
                self._correct.popitem(last=False)
        return correct


def _is_text(given: str) -> bool:
    """False with half of a surrogate pair, which UTF-8 does not have."""
    return not any("\ud800" <= each <= "\udfff" for each in given)


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())
