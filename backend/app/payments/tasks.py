"""Jobs that take money."""

import dataclasses
import datetime as dt
from typing import Annotated

import msgspec

from app.payments.capturing import Capturing
from app.payments.errors import PaymentNotFound
from app.queue.registry import scheduled_task, task
from saqueduct import INJECTED, Concurrency, Context, GiveUp

Seconds = Annotated[int, msgspec.Meta(ge=0)]


# One job of a payment at a time: a second one would only wait for the lock of its row, in a slot of a worker.
@task(timeout=60, retries=6, retry_delay=5, retry_backoff=300, limits=(Concurrency(1, by="payment_id"),))
async def capture_payment(ctx: Context, *, payment_id: int, capturing: Capturing = INJECTED) -> dict[str, int | str]:
    """Take the money of a payment, once, however often this runs."""
    try:
        status = await capturing.capture(payment_id)
    except PaymentNotFound as error:
        raise GiveUp(str(error)) from error
    return {"payment_id": payment_id, "status": status.value}


@scheduled_task(cron="*/5 * * * *", timeout=300)
async def check_status(ctx: Context, *, older_than: Seconds = 60, capturing: Capturing = INJECTED) -> dict[str, int]:
    """Settle payments that have been open for more than `older_than` seconds.

    These are delayed ones, ones whose capture timed out in every attempt, and ones whose job was never enqueued.
    """
    return dataclasses.asdict(await capturing.settle(dt.timedelta(seconds=older_than)))
