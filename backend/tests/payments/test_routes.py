"""/payments over HTTP, and the rule that one key is one payment."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.main import create_app
from app.payments.errors import IdempotencyKeyReused, InvalidIdempotencyKey
from app.payments.service import PaymentService
from app.payments.tasks import capture_payment
from app.settings import load_settings
from saqueduct.postgres.models import OutboxJob
from saqueduct.testing import Drained, JobKit
from tests.conftest import running
from tests.payments.payments import BODY


@pytest.fixture
def service(session: AsyncSession) -> PaymentService:
    return PaymentService(session)


async def test_one_key_is_one_payment(service: PaymentService, session: AsyncSession) -> None:
    first, created = await service.create(key="k", amount=100, currency="EUR")
    again, recreated = await service.create(key="k", amount=100, currency="EUR")
    assert (first.id, created, recreated) == (again.id, True, False)
    for changed in ({"amount": 101}, {"currency": "USD"}):
        with pytest.raises(IdempotencyKeyReused):
            await service.create(**{"key": "k", "amount": 100, "currency": "EUR", **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", "x" * 201, "schlüssel", "a\nb"])
async def test_unfit_keys_are_refused(service: PaymentService, key: str) -> None:
    with pytest.raises(InvalidIdempotencyKey):
        await service.create(key=key, amount=100, currency="EUR")


async def test_a_payment_is_made_and_captured_over_http(client: httpx.AsyncClient, jobs: JobKit) -> None:
    made = await client.post("/payments", json=BODY, headers={"Idempotency-Key": "order-1"})
    assert (made.status_code, made.json()["status"]) == (201, "pending")
    location = made.headers["location"]
    jobs.assert_enqueued(capture_payment.options(key=f"capture:{made.json()['id']}"), payment_id=made.json()["id"])
    assert await jobs.drain() == Drained(complete=1)
    shown = await client.get(location)
    assert (shown.json()["status"], shown.json()["amount"]) == ("captured", 1999)
    again = await client.post("/payments", json=BODY, headers={"Idempotency-Key": "order-1"})
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])


async def test_requests_at_once_with_one_key_make_one_payment(client: httpx.AsyncClient, session: AsyncSession) -> None:
    answers = await asyncio.gather(
        *(client.post("/payments", json=BODY, headers={"Idempotency-Key": "same"}) for _ in range(6))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert await session.scalar(text("SELECT count(*) FROM payments")) == 1


async def test_a_key_for_another_payment_is_409(client: httpx.AsyncClient) -> None:
    await client.post("/payments", json=BODY, headers={"Idempotency-Key": "k"})
    answer = await client.post("/payments", json=BODY | {"amount": 1}, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency-key-reused")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (BODY, {}),
        (BODY | {"amount": 0}, {"Idempotency-Key": "k"}),
        (BODY | {"amount": 19.99}, {"Idempotency-Key": "k"}),
        (BODY | {"currency": "eur"}, {"Idempotency-Key": "k"}),
        (BODY | {"currency": "EUR\n"}, {"Idempotency-Key": "k"}),
        (BODY | {"note": "x"}, {"Idempotency-Key": "k"}),
        (BODY, {"Idempotency-Key": ""}),
    ],
)
async def test_bad_payments_are_refused(
    client: httpx.AsyncClient, session: AsyncSession, body: dict[str, Any], headers: dict[str, str]
) -> None:
    assert (await client.post("/payments", json=body, headers=headers)).status_code == 400
    assert await session.scalar(text("SELECT count(*) FROM payments")) == 0


async def test_an_unknown_payment_is_404(client: httpx.AsyncClient) -> None:
    answer = await client.get("/payments/1")
    assert (answer.status_code, answer.json()["code"]) == (404, "payment-not-found")


async def test_a_payment_and_its_job_are_kept_while_redis_is_away(
    environment: dict[str, str], session: AsyncSession, tmp_path: Path
) -> None:
    application = create_app(load_settings(environment | {"REDIS_URL": f"unix://{tmp_path}/nobody.sock"}))
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with running(application), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        made = await client.post("/payments", json=BODY, headers={"Idempotency-Key": "k"})
    assert (made.status_code, made.json()["status"]) == (201, "pending")
    assert (await session.scalars(select(OutboxJob.key))).all() == [f"capture:{made.json()['id']}"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/payments"), ("GET", "/payments/1")])
async def test_payments_are_the_admins(client: httpx.AsyncClient, method: str, path: str) -> None:
    headers = {"X-Forwarded-For": "192.0.2.1", "Idempotency-Key": "k"}
    assert (await client.request(method, path, headers=headers, json=BODY)).status_code == 401
