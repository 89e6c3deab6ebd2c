"""POST /users/register."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.main import create_app
from app.settings import load_settings
from app.users.limits import REGISTRATIONS_PER_MINUTE
from app.users.models import User
from app.users.tasks import send_welcome_email
from saqueduct.postgres.models import OutboxJob
from saqueduct.testing import JobKit
from tests.conftest import running
from tests.users.accounts import PASSWORD, register


async def test_an_account_is_made(client: httpx.AsyncClient, session: AsyncSession) -> None:
    answer = await client.post("/users/register", json={"email": "Ada@Example.com", "password": PASSWORD})
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"id", "email", "status", "created_at"}
    assert (body["email"], body["status"]) == ("ada@example.com", "active")
    user = (await session.scalars(select(User))).one()
    assert user.id == body["id"]
    assert user.password_hash.startswith("$argon2id$")
    assert PASSWORD not in user.password_hash


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@example.com", "ada@EXAMPLE.com"])
async def test_an_address_has_one_account_in_whatever_case(client: httpx.AsyncClient, email: str) -> None:
    await register(client, "Ada@example.com")
    answer = await client.post("/users/register", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 409
    assert answer.json()["code"] == "email-taken"


async def test_of_two_registrations_at_once_one_wins(client: httpx.AsyncClient, session: AsyncSession) -> None:
    body = {"email": "ada@example.com", "password": PASSWORD}
    answers = await asyncio.gather(*(client.post("/users/register", json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert len((await session.scalars(select(User))).all()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"email": "no address"},
        {"email": "ada@localhost"},
        {"email": "Ada <ada@example.com>"},
        {"email": "ada@example.com\r\nBcc: eve@example.com"},
        {"email": "ä@example.com"},
        {"email": "a\x00da@example.com"},
        {"email": ""},
        {"email": None},
        {"password": "x" * 11},
        {"password": "x" * 129},
        {"password": 123456789012},
        {"status": "active"},
        {"is_admin": True},
    ],
    ids=str,
)
async def test_bad_input_is_refused(client: httpx.AsyncClient, session: AsyncSession, change: dict[str, Any]) -> None:
    body = {"email": "ada@example.com", "password": PASSWORD} | change
    answer = await client.post("/users/register", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert (await session.scalars(select(User))).all() == []


@pytest.mark.parametrize("password", ["hunter2", "hunter2" * 30])
async def test_a_refused_password_is_not_repeated(
    client: httpx.AsyncClient, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.post("/users/register", json={"email": "ada@example.com", "password": password})
    assert answer.status_code == 400
    assert "hunter2" not in answer.text + caplog.text


@pytest.mark.parametrize("password", ["x" * 12, "x" * 128, "ünïcödé ✓ пароль"])
async def test_passwords_of_12_to_128_characters_are_taken(client: httpx.AsyncClient, password: str) -> None:
    await register(client, password=password)
    answer = await client.post("/users/login", json={"email": "ada@example.com", "password": password})
    assert answer.status_code == 200


async def test_the_welcome_mail_is_enqueued_with_the_account(client: httpx.AsyncClient, jobs: JobKit) -> None:
    user_id = await register(client)
    jobs.assert_enqueued(send_welcome_email.options(key=f"welcome:{user_id}"), user_id=user_id)


async def test_an_account_that_is_refused_gets_no_mail(client: httpx.AsyncClient, jobs: JobKit) -> None:
    await register(client)
    await client.post("/users/register", json={"email": "ADA@example.com", "password": PASSWORD})
    assert len(jobs.all_enqueued(send_welcome_email)) == 1


async def test_without_redis_the_account_is_made_and_its_mail_waits(
    environment: dict[str, str], session: AsyncSession, tmp_path: Path
) -> None:
    application = create_app(load_settings(environment | {"REDIS_URL": f"unix://{tmp_path}/nobody.sock"}))
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with running(application), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        user_id = await register(client)
    assert (await session.scalars(select(User.id))).all() == [user_id]
    assert (await session.scalars(select(OutboxJob.key))).all() == [f"welcome:{user_id}"]


async def test_a_client_cannot_register_without_end(client: httpx.AsyncClient) -> None:
    bad = {"email": "no address", "password": PASSWORD}
    for _ in range(REGISTRATIONS_PER_MINUTE):
        assert (await client.post("/users/register", json=bad)).status_code == 400
    answer = await client.post("/users/register", json=bad)
    assert answer.status_code == 429
    assert answer.json()["code"] == "too-many-requests"
