"""Access tokens, and POST /users/refresh and /users/logout."""

import asyncio
import datetime as dt
from typing import Any

import httpx
import jwt
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.settings import Settings
from app.users.models import User, UserSession, UserStatus
from app.users.service import UserService
from app.users.sessions import revoke_sessions
from app.users.tokens import AUDIENCE, ISSUER
from tests.fixtures.poll import eventually
from tests.users.accounts import bearer, log_in, me, refresh, register


@pytest.fixture
async def pair(client: httpx.AsyncClient) -> dict[str, str]:
    """The tokens of a user's first session."""
    await register(client)
    return await log_in(client)


async def test_me_tells_the_tokens_user(client: httpx.AsyncClient, pair: dict[str, str]) -> None:
    answer = await me(client, pair["access_token"])
    assert answer.status_code == 200
    assert answer.json()["email"] == "ada@example.com"
    assert "password" not in answer.text


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Bearer \xff", "Basic YTpi"]
)
async def test_without_an_access_token_the_answer_is_401(client: httpx.AsyncClient, header: str | None) -> None:
    headers = {b"Authorization": header.encode("latin-1")} if header is not None else {}
    answer = await client.get("/users/me", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] == "invalid-access-token"


@pytest.mark.parametrize(
    "change",
    [
        {"exp": 1},
        {"iss": "other"},
        {"aud": "other"},
        {"sub": "2"},
        {"sub": "one"},
        {"sid": "5e2f3c1a-8f3b-4f0e-9d53-0d7a52b1c6aa"},
        {"sid": "none"},
        {"sid": None},
        *({name: ...} for name in ("iss", "aud", "sub", "sid", "iat", "exp")),
    ],
    ids=str,
)
async def test_a_signed_token_must_say_the_right_things(
    client: httpx.AsyncClient, pair: dict[str, str], settings: Settings, change: dict[str, Any]
) -> None:
    key = settings.app.secret_key.reveal()
    claims = jwt.decode(pair["access_token"], key, algorithms=["HS256"], audience=AUDIENCE, issuer=ISSUER)
    assert (await me(client, jwt.encode(claims, key, algorithm="HS256"))).status_code == 200
    changed = {name: value for name, value in (claims | change).items() if value is not ...}
    answer = await me(client, jwt.encode(changed, key, algorithm="HS256"))
    assert answer.status_code == 401


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("kind", ["unsigned", "another key", "another algorithm", "signature cut off"])
async def test_a_forged_token_is_refused(
    client: httpx.AsyncClient, pair: dict[str, str], settings: Settings, kind: str
) -> None:
    claims = jwt.decode(pair["access_token"], options={"verify_signature": False})
    forged = {
        "unsigned": jwt.encode(claims, None, algorithm="none"),
        "another key": jwt.encode(claims, "some other key that is long enough", algorithm="HS256"),
        "another algorithm": jwt.encode(claims, settings.app.secret_key.reveal(), algorithm="HS512"),
        "signature cut off": pair["access_token"].rpartition(".")[0] + ".",
    }[kind]
    assert (await me(client, forged)).status_code == 401


async def test_a_refresh_gives_a_new_pair(client: httpx.AsyncClient, pair: dict[str, str]) -> None:
    answer = await refresh(client, pair)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    second = answer.json()
    assert second["refresh_token"] != pair["refresh_token"]
    assert (await me(client, second["access_token"])).status_code == 200
    assert (await me(client, pair["access_token"])).status_code == 200, "requests under way are not cut off"
    assert (await refresh(client, second)).status_code == 200


async def test_a_refresh_prolongs_the_session(
    client: httpx.AsyncClient, pair: dict[str, str], session: AsyncSession, settings: Settings
) -> None:
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    await session.execute(update(UserSession).values(created_at=yesterday, last_used_at=yesterday))
    await session.commit()
    await refresh(client, pair)
    first, second = (await session.scalars(select(UserSession).order_by(UserSession.id))).all()
    assert first.family == second.family
    assert first.rotated_at == first.last_used_at
    assert first.last_used_at > yesterday
    assert second.expires_at - second.created_at == dt.timedelta(days=settings.users.refresh_token_days)


async def test_a_used_refresh_token_ends_its_whole_session(client: httpx.AsyncClient, pair: dict[str, str]) -> None:
    other = await log_in(client)
    second = (await refresh(client, pair)).json()
    third = (await refresh(client, second)).json()
    answer = await refresh(client, pair)
    assert (answer.status_code, answer.json()["code"]) == (401, "refresh-token-reused")
    assert (await refresh(client, third)).status_code == 401
    assert (await me(client, third["access_token"])).status_code == 401
    assert (await me(client, other["access_token"])).status_code == 200, "other sessions go on"
    assert (await refresh(client, other)).status_code == 200


async def test_of_two_refreshes_at_once_one_wins_and_the_session_ends(
    client: httpx.AsyncClient, pair: dict[str, str]
) -> None:
    answers = await asyncio.gather(*(refresh(client, pair) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401]
    winner = next(answer.json() for answer in answers if answer.status_code == 200)
    assert (await refresh(client, winner)).status_code == 401


async def test_a_refresh_waits_for_a_revocation_under_way(
    client: httpx.AsyncClient, pair: dict[str, str], session: AsyncSession
) -> None:
    user_id = (await me(client, pair["access_token"])).json()["id"]
    await UserService(session).lock(user_id)
    refreshing = asyncio.create_task(refresh(client, pair))
    await eventually(lambda: session.scalar(text("SELECT true FROM pg_locks WHERE NOT granted")))
    await revoke_sessions(session, dt.datetime.now(dt.UTC), user_id=user_id)
    await session.commit()
    assert (await refreshing).status_code == 401


@pytest.mark.parametrize("token", ["", "unknown", "x" * 128, "ü", "a\x00b"])
async def test_an_unknown_refresh_token_is_refused(client: httpx.AsyncClient, token: str) -> None:
    answer = await refresh(client, {"refresh_token": token})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid-refresh-token")


@pytest.mark.parametrize("path", ["/users/refresh", "/users/logout"])
@pytest.mark.parametrize("body", [{}, {"refresh_token": 1}, {"refresh_token": "x" * 129}, {"token": "x"}], ids=str)
async def test_bad_input_is_refused(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    assert (await client.post(path, json=body)).status_code == 400


async def test_an_expired_session_is_over(
    client: httpx.AsyncClient, pair: dict[str, str], session: AsyncSession
) -> None:
    await session.execute(update(UserSession).values(expires_at=dt.datetime.now(dt.UTC)))
    await session.commit()
    answer = await refresh(client, pair)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid-refresh-token")
    assert (await me(client, pair["access_token"])).status_code == 401


async def test_an_exchanged_token_keeps_no_session_alive(
    client: httpx.AsyncClient, pair: dict[str, str], session: AsyncSession
) -> None:
    await refresh(client, pair)
    newest = UserSession.rotated_at.is_(None)
    await session.execute(update(UserSession).where(newest).values(expires_at=dt.datetime.now(dt.UTC)))
    await session.commit()
    assert (await me(client, pair["access_token"])).status_code == 401


async def test_a_status_set_by_hand_in_the_database_counts_too(
    client: httpx.AsyncClient, pair: dict[str, str], session: AsyncSession
) -> None:
    await session.execute(update(User).values(status=UserStatus.SUSPENDED))
    await session.commit()
    assert (await me(client, pair["access_token"])).status_code == 401
    assert (await refresh(client, pair)).status_code == 401


async def test_a_logout_ends_the_session_at_once(client: httpx.AsyncClient, pair: dict[str, str]) -> None:
    other = await log_in(client)
    second = (await refresh(client, pair)).json()
    answer = await client.post("/users/logout", json={"refresh_token": second["refresh_token"]})
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await me(client, second["access_token"])).status_code == 401
    assert (await me(client, pair["access_token"])).status_code == 401
    assert (await refresh(client, second)).status_code == 401
    assert (await me(client, other["access_token"])).status_code == 200


async def test_a_logout_twice_or_of_an_unknown_token_is_no_error(
    client: httpx.AsyncClient, pair: dict[str, str]
) -> None:
    for token in (pair["refresh_token"], pair["refresh_token"], "unknown"):
        answer = await client.post("/users/logout", json={"refresh_token": token})
        assert answer.status_code == 204


async def test_the_session_of_another_user_does_not_count(
    client: httpx.AsyncClient, pair: dict[str, str], settings: Settings
) -> None:
    eve = await register(client, "eve@example.com")
    key = settings.app.secret_key.reveal()
    claims = jwt.decode(pair["access_token"], key, algorithms=["HS256"], audience=AUDIENCE)
    mixed = jwt.encode(claims | {"sub": str(eve)}, key, algorithm="HS256")
    assert (await client.get("/users/me", headers=bearer(mixed))).status_code == 401
