"""What can go wrong with a payment."""

from app.errors import AppError, Conflict, NotFound


class PaymentNotFound(NotFound):
    """No payment has that id."""

    code = "payment-not-found"

    def __init__(self, payment_id: int) -> None:
        super().__init__(f"there is no payment {payment_id}")


class InvalidIdempotencyKey(AppError):
    """The Idempotency-Key header is missing or invalid."""

    code = "invalid-idempotency-key"


class IdempotencyKeyReused(Conflict):
    """The Idempotency-Key was used for another payment."""

    code = "idempotency-key-reused"

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key belongs to a payment with another amount or currency: use a new key")


class GatewayUnavailable(Exception):
    """The provider did not answer: it is unknown whether it took the money."""
