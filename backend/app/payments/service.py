"""Rules of payments: one key is one payment. Taking the money is in `capturing.py`."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.payments.errors import IdempotencyKeyReused, InvalidIdempotencyKey, PaymentNotFound
from app.payments.models import Payment, PaymentStatus

MAX_KEY = 200
"""Characters of an idempotency key."""


class PaymentService:
    """Makes and finds payments.

    Args:
        session: flushed, never committed.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def create(self, *, key: str, amount: int, currency: str) -> tuple[Payment, bool]:
        """The payment with that key, and whether it is new.

        Args:
            key: chosen by the caller; the same key again is the same payment.
            amount: in the currency's minor unit.
            currency: ISO 4217, three capital letters.

        Raises:
            InvalidIdempotencyKey: empty, too long, or not printable ASCII.
            IdempotencyKeyReused: the key belongs to a payment with another amount or currency.
        """
        if not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
            raise InvalidIdempotencyKey(f"Idempotency-Key: 1 to {MAX_KEY} printable ASCII characters are needed")
        values = {"idempotency_key": key, "amount": amount, "currency": currency, "status": PaymentStatus.PENDING}
        # One statement: of two concurrent requests with one key, the second waits here for the first's commit.
        statement = insert(Payment).values(values).on_conflict_do_nothing().returning(Payment)
        created: Payment | None = await self._session.scalar(statement)
        if created is not None:
            return created, True
        query = select(Payment).where(Payment.idempotency_key == key)
        existing = (await self._session.scalars(query)).one()
        if (existing.amount, existing.currency) != (amount, currency):
            raise IdempotencyKeyReused
        return existing, False

    async def get(self, payment_id: int) -> Payment:
        """The payment with that id.

        Raises:
            PaymentNotFound: there is none.
        """
        payment = await self._session.get(Payment, payment_id)
        if payment is None:
            raise PaymentNotFound(payment_id)
        return payment
