"""Tokens: access tokens are short-lived signed JWTs, refresh tokens random strings of which a hash is stored."""

import datetime as dt
import hashlib
import secrets
import uuid
from collections.abc import Callable
from pathlib import Path

import jwt
import msgspec

from app.settings import Settings
from app.users.errors import InvalidAccessToken
from saqueduct.secrets import Secret, development_key

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "saqueduct"
REFRESH_TOKEN_BYTES = 32

Clock = Callable[[], dt.datetime]


def utc_now() -> dt.datetime:
    """The default clock of services."""
    return dt.datetime.now(dt.UTC)


class AccessClaims(msgspec.Struct, frozen=True):
    """The content of an access token: its user, and the session (family of refresh tokens) that it is valid for."""

    user_id: int
    family: uuid.UUID


class AccessTokens:
    """Issues and reads access tokens.

    Args:
        key: signs and verifies.
        lifetime: from issue to expiry.
        now: the clock at issue; at reading it is the system's.
    """

    def __init__(self, key: Secret, lifetime: dt.timedelta, now: Clock = utc_now) -> None:
        self._key = key
        self.lifetime = lifetime
        self._now = now

    def issue(self, claims: AccessClaims) -> str:
        """A signed token."""
        now = self._now()
        payload = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(claims.user_id),
            "sid": str(claims.family),
            "iat": now,
            "exp": now + self.lifetime,
        }
        return jwt.encode(payload, self._key.reveal(), algorithm=ALGORITHM)

    def read(self, token: str) -> AccessClaims:
        """The claims of a token with a valid signature that has not expired.

        Raises:
            InvalidAccessToken: in all other cases.
        """
        try:
            payload = jwt.decode(
                token,
                self._key.reveal(),
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": ["iss", "aud", "sub", "sid", "iat", "exp"]},
            )
            return AccessClaims(int(payload["sub"]), uuid.UUID(payload["sid"]))
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            raise InvalidAccessToken from None


def new_refresh_token() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(REFRESH_TOKEN_BYTES)


def hash_token(token: str) -> bytes:
    """The stored form of a refresh token. The token is random, so a single SHA-256 cannot be reversed by guessing."""
    return hashlib.sha256(token.encode()).digest()


def signing_key(settings: Settings) -> Secret:
    """SECRET_KEY, or in development without one a key that `development_key` keeps under DEV_DIR."""
    return settings.app.secret_key or development_key(Path(settings.app.dev_dir))
