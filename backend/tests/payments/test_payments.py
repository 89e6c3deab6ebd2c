"""Payments are captured once."""

import asyncio

import pytest
from dishka import AsyncContainer
from saq.job import Status
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.db.session import make_sessionmaker
from app.payments import gateway as sandbox
from app.payments.capturing import Capturing
from app.payments.errors import GatewayUnavailable
from app.payments.gateway import Capture, Outcome, SandboxGateway
from app.payments.models import Payment, PaymentStatus, SandboxCapture
from app.payments.tasks import capture_payment
from saqueduct.testing import JobKit
from tests.payments.payments import make, reload


async def test_the_job_captures_a_payment(jobs: JobKit, session: AsyncSession) -> None:
    payment_id = await make(session, 1999)
    job = await jobs.run(capture_payment, payment_id=payment_id)
    assert (job.status, job.result) == (Status.COMPLETE, {"payment_id": payment_id, "status": "captured"})
    payment = await reload(session, payment_id)
    assert (payment.status, payment.reference) == (PaymentStatus.CAPTURED, f"sandbox-{payment.provider_key}")
    assert payment.captured_at is not None


@pytest.mark.parametrize(
    ("amount", "reason"), [(sandbox.DECLINED_FUNDS, "insufficient funds"), (sandbox.DECLINED_CARD, "card refused")]
)
async def test_a_declined_payment_is_final(jobs: JobKit, session: AsyncSession, amount: int, reason: str) -> None:
    payment_id = await make(session, amount)
    job = await jobs.run(capture_payment, payment_id=payment_id)
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


async def test_a_time_out_makes_the_job_try_again(jobs: JobKit, session: AsyncSession) -> None:
    job = await jobs.run(capture_payment, payment_id=await make(session, sandbox.TIMES_OUT_AFTER))
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


async def test_a_payment_that_the_database_forgot_is_captured_once_all_the_same(
    capturing: Capturing, session: AsyncSession
) -> None:
    lost = await make(session, 500, "order-1")
    await capturing.capture(lost)
    await session.execute(delete(Payment))
    await session.commit()
    other, again = await make(session, 700, "order-2"), await make(session, 500, "order-1")
    for payment_id in (other, again):
        assert await capturing.capture(payment_id) is PaymentStatus.CAPTURED
    calls = select(SandboxCapture.amount, SandboxCapture.calls).order_by(SandboxCapture.amount)
    assert [tuple(row) for row in await session.execute(calls)] == [(500, 2), (700, 1)]


async def test_an_unknown_payment_is_not_tried_again(jobs: JobKit) -> None:
    job = await jobs.run(capture_payment, payment_id=404)
    assert (job.status, job.attempts) == (Status.FAILED, 1)


async def test_the_sandbox_knows_what_it_was_asked(engine: AsyncEngine, container: AsyncContainer) -> None:
    gateway = SandboxGateway(make_sessionmaker(engine))
    assert await gateway.find("k") is None
    assert (await gateway.capture(key="k", amount=1, currency="EUR")).outcome is Outcome.CAPTURED
    found = await gateway.find("k")
    assert found is not None
    assert found.outcome is Outcome.CAPTURED
