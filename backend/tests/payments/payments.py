"""What the tests of payments share."""

import datetime as dt

from sqlalchemy.ext.asyncio import AsyncSession

from app.payments.models import Payment
from app.payments.service import PaymentService

NOW = dt.timedelta(0)
BODY = {"amount": 1999, "currency": "EUR"}


async def make(session: AsyncSession, amount: int, key: str = "k") -> int:
    """A committed payment; returns its id."""
    payment, _ = await PaymentService(session).create(key=key, amount=amount, currency="EUR")
    await session.commit()
    return payment.id


async def reload(session: AsyncSession, payment_id: int) -> Payment:
    """The payment as the database has it."""
    return await session.get_one(Payment, payment_id, populate_existing=True)
