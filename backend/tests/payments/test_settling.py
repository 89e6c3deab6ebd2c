"""Payments left open are settled in the end."""

import asyncio
import datetime as dt

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.db.session import make_sessionmaker
from app.payments import gateway as sandbox
from app.payments.capturing import Capturing
from app.payments.errors import GatewayUnavailable
from app.payments.gateway import Capture, Outcome, SandboxGateway
from app.payments.models import Payment, PaymentStatus
from app.payments.tasks import check_status
from saqueduct import get_registry
from saqueduct.testing import JobKit
from tests.payments.payments import NOW, make, reload


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


async def test_check_status_captures_what_was_never_enqueued(jobs: JobKit, session: AsyncSession) -> None:
    payment_ids = [await make(session, 100 + number, f"k{number}") for number in range(3)]
    assert (await jobs.run(check_status, older_than=3600)).result == {"checked": 0, "settled": 0, "unanswered": 0}
    assert (await jobs.run(check_status, older_than=0)).result == {"checked": 3, "settled": 3, "unanswered": 0}
    for payment_id in payment_ids:
        assert (await reload(session, payment_id)).status is PaymentStatus.CAPTURED


async def test_one_unanswered_payment_does_not_keep_the_others(capturing: Capturing, session: AsyncSession) -> None:
    await make(session, sandbox.TIMES_OUT_BEFORE, "first")
    await make(session, 500, "second")
    result = await capturing.settle(NOW)
    assert (result.checked, result.settled, result.unanswered) == (2, 1, 1)
    assert (await capturing.settle(NOW)).settled == 1


async def test_the_payment_unlooked_at_for_longest_comes_first(engine: AsyncEngine, session: AsyncSession) -> None:
    asked: list[str] = []

    class Busy(SandboxGateway):
        """Is never done, and remembers who was asked for."""

        async def find(self, key: str) -> Capture | None:
            asked.append(key)
            return Capture(Outcome.PENDING, "x")

    lately, long_ago = [await session.get_one(Payment, await make(session, 500, key)) for key in ("a", "b")]
    long_ago.updated_at -= dt.timedelta(hours=1)
    await session.commit()
    maker = make_sessionmaker(engine)
    for _ in range(2):
        await Capturing(maker, Busy(maker), batch_size=1).settle(NOW)
    assert asked == [long_ago.provider_key, lately.provider_key] * 2


@pytest.fixture
def in_twos(engine: AsyncEngine) -> Capturing:
    """Claims two payments at a time."""
    maker = make_sessionmaker(engine)
    return Capturing(maker, SandboxGateway(maker, delay=NOW), batch_size=2)


async def test_two_runs_at_once_share_the_open_payments(in_twos: Capturing, session: AsyncSession) -> None:
    for number in range(10):
        await make(session, 100, f"k{number}")
    runs = await asyncio.gather(*(in_twos.settle(NOW) for _ in range(3)))
    assert sum(run.checked for run in runs) == sum(run.settled for run in runs) == 10


async def test_settling_goes_through_batches(in_twos: Capturing, session: AsyncSession) -> None:
    for number in range(5):
        await make(session, 100, f"k{number}")
    assert (await in_twos.settle(NOW)).settled == 5


async def test_check_status_runs_every_five_minutes() -> None:
    task = get_registry().get("check_status")
    assert task.schedule is not None
    assert (task.schedule.cron, task.defaults.timeout) == ("*/5 * * * *", 300)


async def test_a_provider_that_does_not_answer_is_left_in_time(engine: AsyncEngine, session: AsyncSession) -> None:
    class Silent(SandboxGateway):
        """Never answers."""

        async def capture(self, *, key: str, amount: int, currency: str) -> Capture:
            return await asyncio.Future()

        async def find(self, key: str) -> Capture | None:
            return await asyncio.Future()

    maker = make_sessionmaker(engine)
    payment_id = await make(session, 500)
    capturing = Capturing(maker, Silent(maker), gateway_timeout=0.1)
    with pytest.raises(GatewayUnavailable, match=r"no answer within 0\.1 s"):
        await capturing.capture(payment_id)
    assert (await capturing.settle(NOW)).unanswered == 1
    assert (await reload(session, payment_id)).status is PaymentStatus.CAPTURING
