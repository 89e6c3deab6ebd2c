"""Payments over HTTP, for the admin: the callers are services, not browsers."""

import logging
from typing import Annotated

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Response, get, post
from litestar.params import HeaderParameter, JSONBody, PathParameter
from sqlalchemy.ext.asyncio import AsyncSession

from app.payments.errors import InvalidIdempotencyKey
from app.payments.models import OPEN
from app.payments.schemas import NewPayment, PaymentView
from app.payments.service import PaymentService
from app.queue import Queues, QueueUnavailable
from app.security import ADMIN, ADMIN_SECURITY

logger = logging.getLogger("app.payments")

PaymentId = Annotated[int, PathParameter(ge=1, le=2**31 - 1)]
IdempotencyKey = Annotated[str | None, HeaderParameter(name="Idempotency-Key", description="required")]


class PaymentController(Controller):
    """Payments; the money is taken by a job."""

    path = "/payments"
    tags = ("Payments",)
    opt = ADMIN
    security = ADMIN_SECURITY

    @post()
    @inject
    async def create(
        self,
        data: JSONBody[NewPayment],
        payments: FromDishka[PaymentService],
        session: FromDishka[AsyncSession],
        queues: FromDishka[Queues],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[PaymentView]:
        """Make a payment (201), or answer with the one that this Idempotency-Key made before (200)."""
        if idempotency_key is None:
            raise InvalidIdempotencyKey("the header Idempotency-Key is missing: send one of your own a payment")
        payment, created = await payments.create(key=idempotency_key, amount=data.amount, currency=data.currency)
        # Before the job is enqueued: a worker must find the row.
        await session.commit()
        if payment.status in OPEN:
            try:
                await queues.enqueue("capture_payment", {"payment_id": payment.id}, key=f"capture:{payment.id}")
            except QueueUnavailable as error:
                logger.warning("payment %s waits for check_status: %s", payment.id, error)
        status = 201 if created else 200
        location = {"Location": f"/payments/{payment.id}"}
        return Response(PaymentView.of(payment), status_code=status, headers=location)

    @get("/{payment_id:int}")
    @inject
    async def show(self, payment_id: PaymentId, payments: FromDishka[PaymentService]) -> PaymentView:
        """One payment."""
        return PaymentView.of(await payments.get(payment_id))
