"""Takes the money, once: asks the provider and stores its answer.

Three steps, each safe to repeat. The status becomes `capturing` and is committed; the provider is asked, under a key
of the payment's own; its answer is written and committed. If a worker dies at any point, the next run asks again under
the same key, and the provider answers with the existing capture.
"""

import asyncio
import dataclasses
import datetime as dt
import logging
from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.session import SessionMaker, transaction
from app.payments.errors import GatewayUnavailable, PaymentNotFound
from app.payments.gateway import Capture, Outcome, PaymentGateway
from app.payments.models import OPEN, Payment, PaymentStatus

logger = logging.getLogger("app.payments")

T = TypeVar("T")

BATCH_SIZE: Final = 20
GATEWAY_TIMEOUT: Final = 15.0


@dataclasses.dataclass(slots=True)
class Settlement:
    """The result of a run over the open payments."""

    checked: int = 0
    settled: int = 0
    unanswered: int = 0


class Capturing:
    """Captures payments and settles those left open.

    Args:
        maker: makes sessions; each step is a transaction of its own.
        gateway: the provider.
        gateway_timeout: seconds that the provider may take for an answer.
        batch_size: open payments that one run claims at a time.
    """

    def __init__(
        self,
        maker: SessionMaker,
        gateway: PaymentGateway,
        *,
        gateway_timeout: float = GATEWAY_TIMEOUT,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._maker = maker
        self._gateway = gateway
        self._gateway_timeout = gateway_timeout
        self._batch_size = batch_size

    async def capture(self, payment_id: int) -> PaymentStatus:
        """Take the money of a payment and return its status; a final one stays as it is.

        Raises:
            PaymentNotFound: no payment has that id.
            GatewayUnavailable: no answer; ask again, or let `settle` do it.
        """
        async with transaction(self._maker) as session:
            payment = await _locked(session, payment_id)
            if payment.status not in OPEN:
                return payment.status
            payment.status = PaymentStatus.CAPTURING
        capture = await self._answered(
            self._gateway.capture(key=payment.provider_key, amount=payment.amount, currency=payment.currency)
        )
        return await self._write(payment_id, capture)

    async def settle(self, older_than: dt.timedelta) -> Settlement:
        """Ask the provider for all payments left open; those it has never heard of are captured.

        Those that have not been checked for longest come first, so that an interrupted run, or a provider that does not
        answer for some, makes none wait forever. Two concurrent runs share the work.

        Args:
            older_than: skips payments that changed more recently, because a job may be working on them.
        """
        result = Settlement()
        async with self._maker() as session:
            before = (await session.scalars(select(func.now() - older_than))).one()
        while payments := await self._take(before):
            for payment in payments:
                result.checked += 1
                try:
                    status = await self._settle(payment)
                except GatewayUnavailable as error:
                    logger.warning("payment %s stays open: %s", payment.id, error)
                    result.unanswered += 1
                else:
                    result.settled += status not in OPEN
        return result

    async def _settle(self, payment: Payment) -> PaymentStatus:
        capture = await self._answered(self._gateway.find(payment.provider_key))
        if capture is None:
            return await self.capture(payment.id)
        return await self._write(payment.id, capture)

    async def _take(self, before: dt.datetime) -> Sequence[Payment]:
        """Some open payments, marked as checked now, so that this and other runs skip them."""
        # In a WITH: as a plain IN, PostgreSQL may run the SELECT again for each row, and lock more than the limit.
        batch = (
            select(Payment.id)
            .where(Payment.status.in_(OPEN), Payment.updated_at < before)
            .order_by(Payment.updated_at)
            .limit(self._batch_size)
            .with_for_update(skip_locked=True)
            .cte()
        )
        statement = update(Payment).where(Payment.id.in_(select(batch.c.id))).values(updated_at=func.now())
        async with transaction(self._maker) as session:
            return (await session.scalars(statement.returning(Payment))).all()

    async def _write(self, payment_id: int, capture: Capture) -> PaymentStatus:
        async with transaction(self._maker) as session:
            payment = await _locked(session, payment_id)
            if payment.status not in OPEN:
                return payment.status
            payment.reference = capture.reference
            match capture.outcome:
                case Outcome.CAPTURED:
                    payment.status, payment.captured_at = PaymentStatus.CAPTURED, dt.datetime.now(dt.UTC)
                case Outcome.DECLINED:
                    payment.status, payment.reason = PaymentStatus.DECLINED, capture.reason
                case Outcome.PENDING:
                    payment.status = PaymentStatus.CAPTURING
            return payment.status

    async def _answered(self, call: Awaitable[T]) -> T:
        """The provider's answer.

        Raises:
            GatewayUnavailable: it takes longer than `gateway_timeout`.
        """
        try:
            async with asyncio.timeout(self._gateway_timeout):
                return await call
        except TimeoutError:
            raise GatewayUnavailable(f"no answer within {self._gateway_timeout:g} s") from None


async def _locked(session: AsyncSession, payment_id: int) -> Payment:
    payment = await session.get(Payment, payment_id, with_for_update=True)
    if payment is None:
        raise PaymentNotFound(payment_id)
    return payment
