"""Register, log in, refresh, log out, and who sent a request."""

import logging

from app.users.errors import (
    AccountNotActive,
    InvalidAccessToken,
    InvalidCredentials,
    InvalidRefreshToken,
    RefreshTokenReused,
)
from app.users.models import User, UserStatus
from app.users.passwords import Passwords
from app.users.schemas import TokenPair
from app.users.service import UserService, normalize_email
from app.users.sessions import UserSessions
from app.users.tokens import AccessClaims, AccessTokens

logger = logging.getLogger("app.users")


class Authentication:
    """Rules of passwords and sessions.

    Args:
        users: the accounts.
        sessions: the refresh tokens.
        passwords: hashes and verifies.
        tokens: issues and reads access tokens.
    """

    def __init__(self, users: UserService, sessions: UserSessions, passwords: Passwords, tokens: AccessTokens) -> None:
        self._users = users
        self._sessions = sessions
        self._passwords = passwords
        self._tokens = tokens

    async def register(self, email: str, password: str) -> User:
        """A new account.

        Raises:
            InvalidEmail, EmailTaken: see `UserService.create`.
        """
        email = normalize_email(email)  # before the hash, which is expensive
        return await self._users.create(email, await self._passwords.hash(password))

    async def log_in(self, email: str, password: str) -> TokenPair:
        """Open a session.

        Raises:
            InvalidCredentials: unknown address or wrong password.
            AccountNotActive: right password, but the account is inactive or suspended.
        """
        user = await self._users.find_by_email(email)
        matches = await self._passwords.verify(password, user.password_hash if user else None)
        if user is None or not matches:
            raise InvalidCredentials
        # Locked only now: hashing takes long, and the status may have changed since.
        user = await self._users.lock(user.id)
        if user.status is not UserStatus.ACTIVE:
            raise AccountNotActive(user.status)
        if self._passwords.is_outdated(user.password_hash):
            user.password_hash = await self._passwords.hash(password)
        token, family = await self._sessions.open(user.id)
        return self._pair(token, AccessClaims(user.id, family))

    async def refresh(self, token: str) -> TokenPair:
        """Exchange a refresh token for a new pair; each token can be exchanged once.

        Raises:
            InvalidRefreshToken: unknown, expired or revoked.
            RefreshTokenReused: it was exchanged before. The session is revoked; the caller must commit that.
        """
        row = await self._sessions.find(token)
        user = await self._users.lock(row.user_id)
        row = await self._sessions.find(token)
        if row.rotated_at is not None:
            logger.warning("a refresh token of user %s was used again: session %s revoked", user.id, row.family)
            await self._sessions.revoke(row.family)
            raise RefreshTokenReused
        if self._sessions.is_over(row) or user.status is not UserStatus.ACTIVE:
            raise InvalidRefreshToken
        return self._pair(await self._sessions.rotate(row), AccessClaims(user.id, row.family))

    async def log_out(self, token: str) -> None:
        """End the session of a refresh token; an unknown one is ignored (RFC 7009, section 2.2)."""
        try:
            row = await self._sessions.find(token)
        except InvalidRefreshToken:
            return
        await self._users.lock(row.user_id)
        await self._sessions.revoke(row.family)

    async def identify(self, access_token: str) -> User:
        """The active user of an access token whose session is live.

        Raises:
            InvalidAccessToken: the token, its session or its user's status does not allow it.
        """
        user = await self._sessions.user_of(self._tokens.read(access_token))
        if user is None:
            raise InvalidAccessToken
        return user

    def _pair(self, refresh_token: str, claims: AccessClaims) -> TokenPair:
        return TokenPair(
            access_token=self._tokens.issue(claims),
            refresh_token=refresh_token,
            expires_in=int(self._tokens.lifetime.total_seconds()),
        )
