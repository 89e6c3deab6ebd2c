"""The rules of accounts, without HTTP."""

import datetime as dt
import uuid

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.deletion import BATCH_SIZE
from app.users.errors import EmailTaken, InvalidEmail, UserNotFound
from app.users.models import User, UserSession, UserStatus
from app.users.service import UserService, normalize_email
from app.users.tokens import hash_token

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def users(session: AsyncSession) -> UserService:
    return UserService(session, now=lambda: NOW)


@pytest.mark.parametrize(
    ("written", "normalized"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        ("ada+jobs@example.com", "ada+jobs@example.com"),
        ("ada@Bücher.example.com", "ada@xn--bcher-kva.example.com"),
        ("ada@xn--bcher-kva.example.com", "ada@xn--bcher-kva.example.com"),
    ],
)
def test_an_address_has_one_spelling(written: str, normalized: str) -> None:
    assert normalize_email(written) == normalized


@pytest.mark.parametrize(
    "address", ["", "ada", "ada@localhost", "\u00e4da@example.com", "a b@example.com", "@example.com"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidEmail, match="not valid"):
        normalize_email(address)


async def test_creating_flushes_but_does_not_commit(users: UserService, session: AsyncSession) -> None:
    user = await users.create("ada@example.com", "hash")
    assert user.id
    assert user.created_at
    await session.rollback()
    assert (await session.scalars(select(User))).all() == []


async def test_a_taken_address_leaves_the_transaction_usable(users: UserService) -> None:
    first = await users.create("ada@example.com", "hash")
    with pytest.raises(EmailTaken):
        await users.create("ADA@example.com", "hash")
    assert await users.get(first.id) is first


async def test_an_address_must_be_one(users: UserService) -> None:
    with pytest.raises(InvalidEmail, match="not valid"):
        await users.create("ada", "hash")


async def test_users_are_found_by_address_in_any_case(users: UserService) -> None:
    user = await users.create("ada@example.com", "hash")
    assert await users.find_by_email("ADA@example.com") is user
    assert await users.find_by_email("eve@example.com") is None
    assert await users.find_by_email("no address") is None


async def test_who_is_not_there_is_not_found(users: UserService) -> None:
    for call in (users.get(7), users.lock(7), users.change_status(7, UserStatus.ACTIVE)):
        with pytest.raises(UserNotFound, match="no user 7"):
            await call


async def test_a_status_is_changed_and_its_time_noted(users: UserService, session: AsyncSession) -> None:
    user = await users.create("ada@example.com", "hash")
    await session.commit()
    changed = await users.change_status(user.id, UserStatus.SUSPENDED)
    assert changed.status is UserStatus.SUSPENDED
    assert changed.updated_at > changed.created_at


@pytest.mark.parametrize(
    ("status", "revoked"), [(UserStatus.SUSPENDED, True), (UserStatus.INACTIVE, True), (UserStatus.ACTIVE, False)]
)
async def test_only_the_sessions_of_who_is_not_active_are_revoked(
    users: UserService, session: AsyncSession, status: UserStatus, revoked: bool
) -> None:
    user = await users.create("ada@example.com", "hash")
    row = await add_session(session, user.id, expired=-1)
    await users.change_status(user.id, status)
    await session.refresh(row)
    assert (row.revoked_at == NOW) is revoked


async def test_a_revoked_session_keeps_the_time_it_was_revoked(users: UserService, session: AsyncSession) -> None:
    user = await users.create("ada@example.com", "hash")
    row = await add_session(session, user.id, expired=-1, revoked=3)
    await users.change_status(user.id, UserStatus.SUSPENDED)
    await session.refresh(row)
    assert row.revoked_at == NOW - dt.timedelta(days=3)


async def test_only_sessions_long_over_are_deleted(users: UserService, session: AsyncSession) -> None:
    user = await users.create("ada@example.com", "hash")
    live = await add_session(session, user.id, expired=-1)
    expired_lately = await add_session(session, user.id, expired=30)
    revoked_lately = await add_session(session, user.id, expired=-1, revoked=30)
    await add_session(session, user.id, expired=31)
    await add_session(session, user.id, expired=-1, revoked=31)
    assert await users.delete_stale_sessions(30) == 2
    left = (await session.scalars(select(UserSession.id).order_by(UserSession.id))).all()
    assert left == [live.id, expired_lately.id, revoked_lately.id]
    assert await users.delete_stale_sessions(30) == 0


async def test_sessions_are_deleted_in_batches(users: UserService, session: AsyncSession) -> None:
    user = await users.create("ada@example.com", "hash")
    session.add_all(make_session(user.id, expired=31) for _ in range(2 * BATCH_SIZE + 1))
    await session.flush()
    left: list[int] = []

    async def count() -> None:
        left.append(len((await session.scalars(select(UserSession.id))).all()))

    assert await users.delete_stale_sessions(30, after_batch=count) == 2 * BATCH_SIZE + 1
    assert left == [BATCH_SIZE + 1, 1, 0]


async def add_session(session: AsyncSession, user_id: int, *, expired: int, revoked: int | None = None) -> UserSession:
    row = make_session(user_id, expired=expired, revoked=revoked)
    session.add(row)
    await session.flush()
    return row


def make_session(user_id: int, *, expired: int, revoked: int | None = None) -> UserSession:
    """A session that expired, and was revoked, so many days ago."""
    return UserSession(
        user_id=user_id,
        family=uuid.uuid4(),
        token_hash=hash_token(str(uuid.uuid4())),
        created_at=NOW - dt.timedelta(days=60),
        last_used_at=NOW - dt.timedelta(days=60),
        expires_at=NOW - dt.timedelta(days=expired),
        revoked_at=None if revoked is None else NOW - dt.timedelta(days=revoked),
    )
