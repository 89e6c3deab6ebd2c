"""Payments over HTTP."""

import datetime as dt
from typing import Annotated

import msgspec

from app.payments.models import Payment


class NewPayment(msgspec.Struct, forbid_unknown_fields=True):
    """A payment to make."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=10**12, description="in the currency's minor unit: cents, pence, yen")]
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}(?!\n)$", description="ISO 4217")]
    """(In Python `$` alone matches before a newline at the end, too.)"""


class PaymentView(msgspec.Struct):
    """A payment with its current status."""

    id: int
    amount: int
    currency: str
    status: str
    reference: str | None
    reason: str | None
    created_at: dt.datetime
    captured_at: dt.datetime | None

    @classmethod
    def of(cls, payment: Payment) -> "PaymentView":
        return cls(
            id=payment.id,
            amount=payment.amount,
            currency=payment.currency,
            status=payment.status.value,
            reference=payment.reference,
            reason=payment.reason,
            created_at=payment.created_at,
            captured_at=payment.captured_at,
        )
