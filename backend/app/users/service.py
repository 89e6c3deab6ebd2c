"""Accounts and their status. Passwords and tokens are in `authentication.py`."""

import datetime as dt

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.deletion import AfterBatch, delete_in_batches
from app.users.errors import EmailTaken, InvalidEmail, UserNotFound
from app.users.models import User, UserSession, UserStatus
from app.users.sessions import revoke_sessions
from app.users.tokens import Clock, utc_now


class UserService:
    """Rules of accounts.

    Args:
        session: flushed, never committed.
        now: the clock.
    """

    def __init__(self, session: AsyncSession, now: Clock = utc_now) -> None:
        self._session = session
        self._now = now

    async def create(self, email: str, password_hash: str) -> User:
        """A new active user.

        Raises:
            InvalidEmail: no usable address.
            EmailTaken: there is an account with that address, ignoring case.
        """
        values = {"email": normalize_email(email), "password_hash": password_hash, "status": UserStatus.ACTIVE}
        # One statement, not a check and then an insert: two concurrent registrations must not both pass.
        statement = insert(User).values(values).on_conflict_do_nothing().returning(User)
        user: User | None = await self._session.scalar(statement)
        if user is None:
            raise EmailTaken
        return user

    async def get(self, user_id: int) -> User:
        """The user of that id.

        Raises:
            UserNotFound: there is none.
        """
        user = await self._session.get(User, user_id)
        if user is None:
            raise UserNotFound(user_id)
        return user

    async def find_by_email(self, email: str) -> User | None:
        """The user of that address, or None."""
        try:
            normalized = normalize_email(email)
        except InvalidEmail:
            return None
        user: User | None = await self._session.scalar(select(User).where(User.email == normalized))
        return user

    async def lock(self, user_id: int) -> User:
        """The user, read again; no other transaction changes the user's sessions until this one ends.

        Raises:
            UserNotFound: there is none.
        """
        # "No key update" lets others go on to insert rows that refer to the user.
        query = select(User).where(User.id == user_id).with_for_update(key_share=True)
        user: User | None = await self._session.scalar(query.execution_options(populate_existing=True))
        if user is None:
            raise UserNotFound(user_id)
        return user

    async def change_status(self, user_id: int, status: UserStatus) -> User:
        """Give the user a status; any but ACTIVE ends all sessions.

        Raises:
            UserNotFound: there is none of that id.
        """
        user = await self.lock(user_id)
        user.status = status
        if status is not UserStatus.ACTIVE:
            await revoke_sessions(self._session, self._now(), user_id=user_id)
        await self._session.flush()
        return user

    async def delete_stale_sessions(self, days_old: int, after_batch: AfterBatch = None) -> int:
        """Delete sessions that expired or were revoked more than `days_old` days ago; return how many.

        Args:
            days_old: days.
            after_batch: see `AfterBatch`.
        """
        before = self._now() - dt.timedelta(days=days_old)
        stale = or_(UserSession.expires_at < before, UserSession.revoked_at < before)
        return await delete_in_batches(self._session, UserSession, stale, after_batch)


def normalize_email(email: str) -> str:
    """One spelling for all that reach one mailbox: lower case, international domains as ASCII.

    RFC 5321 lets a server distinguish `Ada@` from `ada@`; none in use does, and users do not expect it.

    Raises:
        InvalidEmail: the syntax is wrong, or the part before the @ is not ASCII. DNS is not asked.
    """
    try:
        address = validate_email(email, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError as error:
        raise InvalidEmail(f"the email address is not valid: {error}") from None
    return str(address.ascii_email).lower()
