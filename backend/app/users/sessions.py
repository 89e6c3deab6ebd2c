"""The sessions of one user: opened at login, rotated at each refresh, revoked at logout or by the admin.

Code that changes a user's sessions locks the user's row first (`UserService.lock`), so that no rotation escapes a
revocation that runs at the same time.
"""

import datetime as dt
import uuid

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.users.errors import InvalidRefreshToken
from app.users.models import User, UserSession, UserStatus
from app.users.tokens import AccessClaims, Clock, hash_token, new_refresh_token, utc_now


class UserSessions:
    """Rows of `user_sessions`.

    Args:
        session: flushed, never committed.
        lifetime: of a refresh token from its issue.
        now: the clock.
    """

    def __init__(self, session: AsyncSession, lifetime: dt.timedelta, now: Clock = utc_now) -> None:
        self._session = session
        self._lifetime = lifetime
        self._now = now

    async def open(self, user_id: int, family: uuid.UUID | None = None) -> tuple[str, uuid.UUID]:
        """Store a new refresh token, of a new family by default; return the token and its family."""
        token, now = new_refresh_token(), self._now()
        row = UserSession(
            user_id=user_id,
            family=family or uuid.uuid4(),
            token_hash=hash_token(token),
            created_at=now,
            last_used_at=now,
            expires_at=now + self._lifetime,
        )
        self._session.add(row)
        await self._session.flush()
        return token, row.family

    async def rotate(self, row: UserSession) -> str:
        """Exchange a live token for the next of its family."""
        row.rotated_at = row.last_used_at = self._now()
        token, _ = await self.open(row.user_id, row.family)
        return token

    async def find(self, token: str) -> UserSession:
        """The row of a refresh token, read again, in any state.

        Raises:
            InvalidRefreshToken: there is none.
        """
        query = select(UserSession).where(UserSession.token_hash == hash_token(token))
        row = await self._session.scalar(query.execution_options(populate_existing=True))
        if row is None:
            raise InvalidRefreshToken
        return row

    def is_over(self, row: UserSession) -> bool:
        """True when the token was revoked or has expired."""
        return row.revoked_at is not None or row.expires_at <= self._now()

    async def revoke(self, family: uuid.UUID) -> None:
        """Revoke all tokens of a family."""
        await revoke_sessions(self._session, self._now(), family=family)

    async def user_of(self, claims: AccessClaims) -> User | None:
        """The active user of an access token whose session is live, or None."""
        query = (
            select(User)
            .join(UserSession)
            .where(
                User.id == claims.user_id,
                User.status == UserStatus.ACTIVE,
                UserSession.family == claims.family,
                UserSession.rotated_at.is_(None),
                UserSession.revoked_at.is_(None),
                UserSession.expires_at > self._now(),
            )
        )
        user: User | None = await self._session.scalar(query)
        return user


async def revoke_sessions(session: AsyncSession, now: dt.datetime, **which: object) -> None:
    """Revoke the sessions whose columns have the values `which`, unless they are revoked already."""
    statement = update(UserSession).filter_by(**which).where(UserSession.revoked_at.is_(None))
    await session.execute(statement.values(revoked_at=now))
