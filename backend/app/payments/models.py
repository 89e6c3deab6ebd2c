"""Payments, and the storage of the sandbox provider."""

import datetime as dt
import enum
import hashlib

from sqlalchemy import BigInteger, CheckConstraint, Enum, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Identified, Timestamped


class PaymentStatus(enum.StrEnum):
    """The status of a payment.

    pending -> capturing -> captured | declined. `capturing` means that the provider was asked and the answer is not
    known yet: it may have taken the money.
    """

    PENDING = "pending"
    CAPTURING = "capturing"
    CAPTURED = "captured"
    DECLINED = "declined"


OPEN = (PaymentStatus.PENDING, PaymentStatus.CAPTURING)
"""The statuses that are not final."""


def _values(kind: type[enum.Enum]) -> list[str]:
    return [each.value for each in kind]


class Payment(Identified, Timestamped, Base):
    """An amount of money to take."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        Index(None, "status", "id"),
    )

    idempotency_key: Mapped[str] = mapped_column(String(200), unique=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    """In the currency's minor unit: cents, pence, yen."""
    currency: Mapped[str] = mapped_column(String(3))
    status: Mapped[PaymentStatus] = mapped_column(
        Enum(PaymentStatus, native_enum=False, length=20, values_callable=_values), default=PaymentStatus.PENDING
    )
    reference: Mapped[str | None] = mapped_column(String(100))
    """The provider's name of the capture."""
    reason: Mapped[str | None] = mapped_column(String(200))
    """Why it was declined."""
    captured_at: Mapped[dt.datetime | None]

    @property
    def provider_key(self) -> str:
        """Idempotency key towards the provider: one payment is one capture, however often it is requested.

        Derived from the caller's key and not from the id: the provider outlives our database. After a restore of an
        older backup an id may name another payment, whereas a caller who repeats a lost request repeats its key.
        """
        return hashlib.sha256(f"payment:{self.idempotency_key}".encode()).hexdigest()


class SandboxCapture(Timestamped, Base):
    """What the sandbox provider remembers of a capture, as a real one would in its own database."""

    __tablename__ = "sandbox_captures"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    calls: Mapped[int]
    """How often the capture was requested; the money moves at most once."""
