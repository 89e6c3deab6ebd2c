"""Payments over HTTP, for the admin: the callers are services, not browsers."""

from typing import Annotated

from dishka import FromDishka
from litestar import Controller, Response, get, post
from litestar.params import HeaderParameter, JSONBody, PathParameter
from sqlalchemy.ext.asyncio import AsyncSession

from app.payments.errors import InvalidIdempotencyKey
from app.payments.models import OPEN
from app.payments.schemas import NewPayment, PaymentView
from app.payments.service import PaymentService
from app.security import ADMIN, ADMIN_SECURITY
from app.web.scopes import inject
from saqueduct import Queues

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
            raise InvalidIdempotencyKey("the header Idempotency-Key is missing: send a new one for each payment")
        payment, created = await payments.create(key=idempotency_key, amount=data.amount, currency=data.currency)
        if payment.status in OPEN:
            arguments, key = {"payment_id": payment.id}, f"capture:{payment.id}"
            # With the session: a worker finds the row, and no row exists without its job.
            await queues.enqueue("capture_payment", arguments, key=key, session=session)
        status = 201 if created else 200
        location = {"Location": f"/payments/{payment.id}"}
        return Response(PaymentView.of(payment), status_code=status, headers=location)

    @get("/{payment_id:int}")
    @inject
    async def show(self, payment_id: PaymentId, payments: FromDishka[PaymentService]) -> PaymentView:
        """One payment."""
        return PaymentView.of(await payments.get(payment_id))
