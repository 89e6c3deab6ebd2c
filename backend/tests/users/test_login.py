"""POST /users/login."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.settings import Settings
from app.users.limits import LOGINS_PER_MINUTE
from app.users.models import User, UserSession, UserStatus
from app.users.passwords import Passwords
from app.users.service import UserService
from app.users.tokens import hash_token
from tests.fixtures.application import QUICK_HASHER
from tests.users.accounts import PASSWORD, log_in, me, register


async def test_a_login_answers_with_tokens(client: httpx.AsyncClient, settings: Settings) -> None:
    await register(client)
    answer = await client.post("/users/login", json={"email": "ADA@example.com", "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    pair = answer.json()
    assert set(pair) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (pair["token_type"], pair["expires_in"]) == ("Bearer", settings.users.access_token_minutes * 60)
    assert (await me(client, pair["access_token"])).json()["email"] == "ada@example.com"


async def test_of_a_refresh_token_only_the_hash_is_stored(client: httpx.AsyncClient, session: AsyncSession) -> None:
    await register(client)
    token = (await log_in(client))["refresh_token"]
    row = (await session.scalars(select(UserSession))).one()
    assert row.token_hash == hash_token(token)
    assert all(token not in str(value) for value in vars(row).values())


async def test_wrong_password_and_unknown_address_get_one_answer(client: httpx.AsyncClient) -> None:
    await register(client)
    wrong = await client.post("/users/login", json={"email": "ada@example.com", "password": PASSWORD + "!"})
    unknown = await client.post("/users/login", json={"email": "eve@example.com", "password": PASSWORD})
    invalid = await client.post("/users/login", json={"email": "no address", "password": PASSWORD})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid-credentials")
    assert wrong.headers["www-authenticate"] == "Bearer"
    assert wrong.json() == unknown.json() == invalid.json()


async def test_an_unknown_address_costs_a_verification_too(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[tuple[bool, str]] = []
    verify: Callable[[PasswordHasher, str, str], bool] = PasswordHasher.verify

    def spy(self: PasswordHasher, hash: str, password: str) -> bool:  # noqa: A002  (argon2's own name)
        verified.append((self.check_needs_rehash(hash), password))
        return verify(self, hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", spy)
    await client.post("/users/login", json={"email": "eve@example.com", "password": "some password"})
    assert verified == [(False, "some password")], "against a hash of the same cost"


@pytest.mark.parametrize("body", [{}, {"email": "ada@example.com"}, {"email": 1, "password": "x"}, []], ids=str)
async def test_bad_input_is_refused(client: httpx.AsyncClient, body: object) -> None:
    assert (await client.post("/users/login", json=body)).status_code == 400


@pytest.mark.parametrize("status", [UserStatus.SUSPENDED, UserStatus.INACTIVE])
async def test_only_active_users_log_in(client: httpx.AsyncClient, session: AsyncSession, status: UserStatus) -> None:
    user_id = await register(client)
    await UserService(session).change_status(user_id, status)
    await session.commit()
    right = await client.post("/users/login", json={"email": "ada@example.com", "password": PASSWORD})
    assert (right.status_code, right.json()["code"]) == (403, "account-not-active")
    wrong = await client.post("/users/login", json={"email": "ada@example.com", "password": "wrong password"})
    assert wrong.status_code == 401, "only those who know the password learn the status"


async def test_a_suspension_while_the_password_is_verified_counts(
    client: httpx.AsyncClient, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await register(client)

    async def suspend_meanwhile(*_: object) -> bool:
        await UserService(session).change_status(user_id, UserStatus.SUSPENDED)
        await session.commit()
        return True

    monkeypatch.setattr(Passwords, "verify", suspend_meanwhile)
    answer = await client.post("/users/login", json={"email": "ada@example.com", "password": PASSWORD})
    assert answer.status_code == 403
    assert (await session.scalars(select(UserSession))).all() == []


async def test_a_login_renews_a_hash_of_old_parameters(client: httpx.AsyncClient, session: AsyncSession) -> None:
    user_id = await register(client)
    user = await session.get_one(User, user_id)
    user.password_hash = old = PasswordHasher(time_cost=1, memory_cost=8192).hash(PASSWORD)
    await session.commit()
    await log_in(client)
    await session.refresh(user)
    assert user.password_hash != old
    assert not QUICK_HASHER.check_needs_rehash(user.password_hash)
    renewed = user.password_hash
    await log_in(client)
    await session.refresh(user)
    assert user.password_hash == renewed


async def test_a_damaged_hash_lets_nobody_in(client: httpx.AsyncClient, session: AsyncSession) -> None:
    user_id = await register(client)
    (await session.get_one(User, user_id)).password_hash = "damaged"
    await session.commit()
    answer = await client.post("/users/login", json={"email": "ada@example.com", "password": PASSWORD})
    assert answer.status_code == 401


async def test_a_client_cannot_guess_without_end_not_even_at_once(client: httpx.AsyncClient) -> None:
    await register(client)
    body = {"email": "ada@example.com", "password": "a wrong password"}
    answers = await asyncio.gather(*(client.post("/users/login", json=body) for _ in range(LOGINS_PER_MINUTE + 5)))
    assert sorted(answer.status_code for answer in answers) == [401] * LOGINS_PER_MINUTE + [429] * 5
    right = await client.post("/users/login", json={"email": "ada@example.com", "password": PASSWORD})
    assert right.status_code == 429
    assert 0 < int(right.headers["retry-after"]) <= 60
    assert f"try again in {right.headers['retry-after']} seconds" in right.json()["detail"]
    assert (await client.get("/users/me")).status_code == 401, "other routes are not limited"
