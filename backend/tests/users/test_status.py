"""PATCH /users/{id}/status."""

import asyncio
from typing import Any, cast

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.main import create_app
from app.settings import load_settings
from tests.conftest import running
from tests.users.accounts import PASSWORD, log_in, me, refresh, register


@pytest.mark.parametrize("status", ["suspended", "inactive"])
async def test_who_is_not_active_is_logged_out_at_once(client: httpx.AsyncClient, status: str) -> None:
    user_id = await register(client)
    pair, other = await log_in(client), await log_in(client)
    answer = await client.patch(f"/users/{user_id}/status", json={"status": status})
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["status"]) == (user_id, status)
    for each in (pair, other):
        assert (await me(client, each["access_token"])).status_code == 401
        assert (await refresh(client, each)).status_code == 401


async def test_sessions_stay_ended_when_the_user_is_active_again(client: httpx.AsyncClient) -> None:
    user_id = await register(client)
    pair = await log_in(client)
    await client.patch(f"/users/{user_id}/status", json={"status": "suspended"})
    await client.patch(f"/users/{user_id}/status", json={"status": "active"})
    assert (await me(client, pair["access_token"])).status_code == 401
    assert (await refresh(client, pair)).status_code == 401
    assert (await me(client, (await log_in(client))["access_token"])).status_code == 200


async def test_other_users_stay_logged_in(client: httpx.AsyncClient) -> None:
    await register(client)
    eve = await register(client, "eve@example.com")
    pair = await log_in(client)
    await client.patch(f"/users/{eve}/status", json={"status": "suspended"})
    assert (await me(client, pair["access_token"])).status_code == 200


async def test_a_suspension_during_logins_leaves_no_session(client: httpx.AsyncClient) -> None:
    user_id = await register(client)
    body = {"email": "ada@example.com", "password": PASSWORD}
    *logins, suspended = await asyncio.gather(
        *(client.post("/users/login", json=body) for _ in range(6)),
        client.patch(f"/users/{user_id}/status", json={"status": "suspended"}),
    )
    assert suspended.status_code == 200
    for login in logins:
        if login.status_code == 200:
            assert (await me(client, login.json()["access_token"])).status_code == 401


@pytest.mark.parametrize(
    ("user_id", "body", "expected"),
    [
        ("999", {"status": "active"}, 404),
        ("1", {"status": "gone"}, 400),
        ("1", {}, 400),
        ("0", {"status": "active"}, 400),
        (str(2**31), {"status": "active"}, 400),
        ("one", {"status": "active"}, 404),
    ],
)
async def test_bad_input_is_refused(
    client: httpx.AsyncClient, user_id: str, body: dict[str, Any], expected: int
) -> None:
    await register(client)
    assert (await client.patch(f"/users/{user_id}/status", json=body)).status_code == expected


async def test_only_the_admin_changes_a_status(environment: dict[str, str], engine: AsyncEngine) -> None:
    application = create_app(load_settings(environment | {"ADMIN_PASSWORD": "the admin's password"}))
    transport = httpx.ASGITransport(cast("Any", application), raise_app_exceptions=False)
    async with (
        running(application),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        user_id = await register(client)
        pair = await log_in(client)
        change = {"status": "suspended"}
        path = f"/users/{user_id}/status"
        assert (await client.patch(path, json=change)).status_code == 401
        own = await client.patch(path, json=change, headers={"Authorization": f"Bearer {pair['access_token']}"})
        assert own.status_code == 401
        assert (await client.patch(path, json=change, auth=("admin", "the admin's password"))).status_code == 200
