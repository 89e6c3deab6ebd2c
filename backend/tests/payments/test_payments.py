"""Payments: made once, captured once, settled in the end."""

import asyncio
import datetime as dt
from typing import Any

import httpx
import pytest
from dishka import AsyncContainer
from saq.job import Status
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.db.session import make_sessionmaker
from app.payments import gateway as sandbox
from app.payments.capturing import Capturing
from app.payments.errors import GatewayUnavailable, IdempotencyKeyReused, InvalidIdempotencyKey
from app.payments.gateway import Capture, Outcome, SandboxGateway
from app.payments.models import Payment, PaymentStatus, SandboxCapture
from app.payments.service import PaymentService
from app.queue import Queues, get_registry
from tests.conftest import RunTask

NOW = dt.timedelta(0)


@pytest.fixture
def service(session: AsyncSession) -> PaymentService:
    return PaymentService(session)


@pytest.fixture
def capturing(engine: AsyncEngine) -> Capturing:
    maker = make_sessionmaker(engine)
    return Capturing(maker, SandboxGateway(maker, delay=NOW))


async def make(session: AsyncSession, amount: int, key: str = "k") -> int:
    payment, _ = await PaymentService(session).create(key=key, amount=amount, currency="EUR")
    await session.commit()
    return payment.id


async def reload(session: AsyncSession, payment_id: int) -> Payment:
    return await session.get_one(Payment, payment_id, populate_existing=True)


async def test_the_job_captures_a_payment(run_task: RunTask, session: AsyncSession) -> None:
    payment_id = await make(session, 1999)
    job = await run_task("capture_payment", payment_id=payment_id)
    assert (job.status, job.result) == (Status.COMPLETE, {"payment_id": payment_id, "status": "captured"})
    payment = await reload(session, payment_id)
    assert (payment.status, payment.reference) == (PaymentStatus.CAPTURED, f"sandbox-payment:{payment_id}")
    assert payment.captured_at is not None


@pytest.mark.parametrize(
    ("amount", "reason"), [(sandbox.DECLINED_FUNDS, "insufficient funds"), (sandbox.DECLINED_CARD, "card refused")]
)
async def test_a_declined_payment_is_final(run_task: RunTask, session: AsyncSession, amount: int, reason: str) -> None:
    payment_id = await make(session, amount)
    job = await run_task("capture_payment", payment_id=payment_id)
    assert job.status is Status.COMPLETE
    payment = await reload(session, payment_id)
    assert (payment.status, payment.reason) == (PaymentStatus.DECLINED, reason)


@pytest.mark.parametrize("amount", [sandbox.TIMES_OUT_AFTER, sandbox.TIMES_OUT_BEFORE])
async def test_a_time_out_is_asked_again_and_captured_once(
    capturing: Capturing, session: AsyncSession, amount: int
) -> None:
    payment_id = await make(session, amount)
    with pytest.raises(GatewayUnavailable):
        await capturing.capture(payment_id)
    assert (await reload(session, payment_id)).status is PaymentStatus.CAPTURING
    assert await capturing.capture(payment_id) is PaymentStatus.CAPTURED
    assert await session.scalar(select(func.count()).select_from(SandboxCapture)) == 1


async def test_a_time_out_makes_the_job_try_again(run_task: RunTask, session: AsyncSession) -> None:
    task = get_registry().get("capture_payment")
    before, task.call_options = task.call_options, task.options(retry_delay=0, retry_backoff=False).call_options
    try:
        job = await run_task("capture_payment", payment_id=await make(session, sandbox.TIMES_OUT_AFTER))
    finally:
        task.call_options = before
    assert (job.status, job.attempts) == (Status.COMPLETE, 2)


class CountingGateway(SandboxGateway):
    """The sandbox, which counts calls and can die after the money was taken."""

    calls = 0
    dies = False

    async def capture(self, *, key: str, amount: int, currency: str) -> Capture:
        self.calls += 1
        capture = await super().capture(key=key, amount=amount, currency=currency)
        if self.dies:
            raise ConnectionResetError("the process dies here")
        return capture


async def test_a_crash_after_the_capture_captures_no_second_time(engine: AsyncEngine, session: AsyncSession) -> None:
    maker = make_sessionmaker(engine)
    gateway = CountingGateway(maker)
    payment_id = await make(session, 500)
    gateway.dies = True
    with pytest.raises(ConnectionResetError):
        await Capturing(maker, gateway).capture(payment_id)
    gateway.dies = False
    assert await Capturing(maker, gateway).capture(payment_id) is PaymentStatus.CAPTURED
    assert await session.scalar(select(func.count()).select_from(SandboxCapture)) == 1
    assert await Capturing(maker, gateway).capture(payment_id) is PaymentStatus.CAPTURED
    assert gateway.calls == 2


async def test_many_at_once_capture_once(capturing: Capturing, session: AsyncSession) -> None:
    payment_id = await make(session, 500)
    statuses = await asyncio.gather(*(capturing.capture(payment_id) for _ in range(8)))
    assert set(statuses) == {PaymentStatus.CAPTURED}
    assert await session.scalar(select(func.count()).select_from(SandboxCapture)) == 1


@pytest.mark.parametrize(
    ("amount", "status"),
    [(sandbox.SETTLES_LATER, PaymentStatus.CAPTURED), (sandbox.DECLINES_LATER, PaymentStatus.DECLINED)],
)
async def test_a_delayed_capture_is_settled_later(
    engine: AsyncEngine, session: AsyncSession, capturing: Capturing, amount: int, status: PaymentStatus
) -> None:
    maker = make_sessionmaker(engine)
    slow = Capturing(maker, SandboxGateway(maker, delay=dt.timedelta(hours=1)))
    payment_id = await make(session, amount)
    assert await slow.capture(payment_id) is PaymentStatus.CAPTURING
    assert (await slow.settle(NOW)).settled == 0
    assert (await capturing.settle(NOW)).settled == 1
    assert (await reload(session, payment_id)).status is status


async def test_check_status_captures_what_was_never_enqueued(run_task: RunTask, session: AsyncSession) -> None:
    payment_ids = [await make(session, 100 + number, f"k{number}") for number in range(3)]
    assert (await run_task("check_status", older_than=3600)).result == {"checked": 0, "settled": 0, "unanswered": 0}
    assert (await run_task("check_status", older_than=0)).result == {"checked": 3, "settled": 3, "unanswered": 0}
    for payment_id in payment_ids:
        assert (await reload(session, payment_id)).status is PaymentStatus.CAPTURED


async def test_one_unanswered_payment_does_not_keep_the_others(capturing: Capturing, session: AsyncSession) -> None:
    await make(session, sandbox.TIMES_OUT_BEFORE, "first")
    await make(session, 500, "second")
    result = await capturing.settle(NOW)
    assert (result.checked, result.settled, result.unanswered) == (2, 1, 1)
    assert (await capturing.settle(NOW)).settled == 1


async def test_settling_goes_through_batches(
    capturing: Capturing, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.payments.capturing.BATCH_SIZE", 2)
    for number in range(5):
        await make(session, 100, f"k{number}")
    assert (await capturing.settle(NOW)).settled == 5


async def test_check_status_runs_every_five_minutes() -> None:
    task = get_registry().get("check_status")
    assert task.schedule is not None
    assert (task.schedule.cron, task.defaults.timeout) == ("*/5 * * * *", 300)


async def test_an_unknown_payment_is_not_tried_again(run_task: RunTask) -> None:
    job = await run_task("capture_payment", payment_id=404)
    assert (job.status, job.attempts) == (Status.FAILED, 1)


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


BODY = {"amount": 1999, "currency": "EUR"}


async def test_a_payment_is_made_and_captured_over_http(
    client: httpx.AsyncClient, queues: Queues, run_task: RunTask
) -> None:
    made = await client.post("/payments", json=BODY, headers={"Idempotency-Key": "order-1"})
    assert (made.status_code, made.json()["status"]) == (201, "pending")
    location = made.headers["location"]
    assert (await queues.find(f"capture:{made.json()['id']}")).function == "capture_payment"
    await run_task("ping")
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


async def test_the_sandbox_knows_what_it_was_asked(engine: AsyncEngine, container: AsyncContainer) -> None:
    gateway = SandboxGateway(make_sessionmaker(engine))
    assert await gateway.find("k") is None
    assert (await gateway.capture(key="k", amount=1, currency="EUR")).outcome is Outcome.CAPTURED
    found = await gateway.find("k")
    assert found is not None
    assert found.outcome is Outcome.CAPTURED
