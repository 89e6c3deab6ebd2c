"""Passwords: hashed and verified with argon2id, off the event loop."""

import asyncio
import os
import secrets
import unicodedata
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

P = ParamSpec("P")
R = TypeVar("R")


class Passwords:
    """Hashes and verifies passwords with argon2-cffi's parameters (RFC 9106, second recommended option).

    Args:
        hasher: the hasher with its parameters.
        dummy_hash: what a password is compared with if there is no user.
    """

    def __init__(self, hasher: PasswordHasher, dummy_hash: str) -> None:
        self._hasher = hasher
        self._dummy_hash = dummy_hash
        # Each hash uses 64 MiB and one core; more concurrent hashes than cores would only cost memory.
        self._slots = asyncio.Semaphore(os.cpu_count() or 1)

    @classmethod
    async def create(cls, hasher: PasswordHasher | None = None) -> "Passwords":
        """Passwords with a dummy hash of the hasher's own parameters, so that verifying it takes the usual time."""
        hasher = hasher or PasswordHasher()
        return cls(hasher, await asyncio.to_thread(hasher.hash, secrets.token_hex()))

    async def hash(self, password: str) -> str:
        """The password's hash, with salt and parameters in it."""
        return await self._in_thread(self._hasher.hash, _normalize(password))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """True when the hash belongs to the password.

        With no hash (an unknown user) it is False and takes as long, so that the time does not reveal who has an
        account.
        """
        matches = await self._in_thread(self._matches, password_hash or self._dummy_hash, _normalize(password))
        return matches and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """True when the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        async with self._slots:
            return await asyncio.to_thread(function, *args, **kwargs)


def _normalize(password: str) -> str:
    """One spelling for what looks the same: keyboards differ in how they compose characters (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)
