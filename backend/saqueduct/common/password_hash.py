"""Hashes of passwords and tokens, for settings that hold no secrets.

- `scrypt.15.8.3.<salt>.<key>`: of a password, by the standard library (RFC 7914); the numbers are log2(N), r and p.
- `$argon2id$...`: of a password, where the package argon2-cffi is installed.
- `sha256.<digest>`: of a random token, which is too long to be guessed.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from importlib.util import find_spec
from typing import Final

LOG_N: Final = 15
R: Final = 8
P: Final = 3
"""Costs of new hashes: 32 MiB and about 0.2 s each, as OWASP recommends (Password Storage Cheat Sheet)."""

SALT_BYTES: Final = 16
KEY_BYTES: Final = 32
TOKEN_BYTES: Final = 32

MOST_MEMORY: Final = 256 * 1024 * 1024
"""Bytes that checking one password may take."""


def hash_password(password: str, *, log_n: int = LOG_N) -> str:
    """The hash of a password, with a new salt.

    Args:
        password: any text.
        log_n: its cost; each one more doubles time and memory.
    """
    salt = secrets.token_bytes(SALT_BYTES)
    key = _scrypt(password, salt, log_n, R, P)
    return f"scrypt.{log_n}.{R}.{P}.{_text(salt)}.{_text(key)}"


def new_token() -> tuple[str, str]:
    """A random token and its hash."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    return token, hash_token(token)


def hash_token(token: str) -> str:
    """The hash of a random token."""
    return f"sha256.{hashlib.sha256(token.encode()).hexdigest()}"


def is_of_token(hashed: str) -> bool:
    """True for the hash of a token, False for that of a password."""
    return hashed.startswith("sha256.")


def hash_problem(hashed: str) -> str:
    """What is wrong with a hash; empty: nothing."""
    if hashed.startswith("$argon2"):
        return "" if find_spec("argon2") else "it is a hash by argon2: pip install argon2-cffi"
    kind, *rest = hashed.split(".")
    known = (kind == "sha256" and len(rest) == 1 and len(rest[0]) == 64) or (kind == "scrypt" and _parameters(hashed))
    return "" if known else "it is no hash of a password or token: make one with `saqueduct hash-password`"


def matches(password: str, hashed: str) -> bool:
    """True for the password of a hash; takes as long for a wrong one."""
    if hashed.startswith("$argon2"):
        return _matches_argon2(password, hashed)
    found = _parameters(hashed)
    if found is None:
        return False
    log_n, r, p, salt, key = found
    return hmac.compare_digest(_scrypt(password, salt, log_n, r, p, len(key)), key)


def _parameters(hashed: str) -> tuple[int, int, int, bytes, bytes] | None:
    try:
        kind, log_n, r, p, salt, key = hashed.split(".")
        found = int(log_n), int(r), int(p), _bytes(salt), _bytes(key)
    except (ValueError, binascii.Error):
        return None
    n_fits = 1 <= found[0] <= 30 and found[1] > 0 and found[2] > 0
    fits = n_fits and 128 * found[1] * 2 ** found[0] <= MOST_MEMORY and len(found[4]) >= SALT_BYTES
    return found if kind == "scrypt" and fits else None


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int, size: int = KEY_BYTES) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**log_n, r=r, p=p, maxmem=2 * MOST_MEMORY, dklen=size)


def _matches_argon2(password: str, hashed: str) -> bool:
    # Here: the package is optional.
    from argon2 import PasswordHasher
    from argon2.exceptions import Argon2Error, InvalidHashError

    try:
        return PasswordHasher().verify(hashed, password)
    except (Argon2Error, InvalidHashError):
        return False


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
