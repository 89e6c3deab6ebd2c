"""The payment provider: its interface, and a sandbox that answers as providers do."""

import dataclasses
import datetime as dt
import enum
from typing import Protocol

from sqlalchemy.dialects.postgresql import insert

from app.db.session import SessionMaker, transaction
from app.payments.errors import GatewayUnavailable
from app.payments.models import SandboxCapture


class Outcome(enum.Enum):
    """What a provider reports about a capture."""

    CAPTURED = enum.auto()
    DECLINED = enum.auto()
    PENDING = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Capture:
    """A provider's answer: `reference` is its name of the capture, `reason` why it was declined."""

    outcome: Outcome
    reference: str
    reason: str | None = None


class PaymentGateway(Protocol):
    """A payment provider. The key makes calls idempotent: one key is one capture, however often it is requested."""

    async def capture(self, *, key: str, amount: int, currency: str) -> Capture:
        """Take the money.

        Args:
            key: what makes two calls the same capture.
            amount: in the currency's minor unit.
            currency: ISO 4217.

        Raises:
            GatewayUnavailable: no answer; the money may have been taken.
        """
        ...

    async def find(self, key: str) -> Capture | None:
        """The current state of the capture with that key, or None when it was never requested.

        Raises:
            GatewayUnavailable: no answer.
        """
        ...


DECLINED_FUNDS = 100_02
DECLINED_CARD = 100_05
TIMES_OUT_AFTER = 100_04
TIMES_OUT_BEFORE = 100_08
SETTLES_LATER = 100_10
DECLINES_LATER = 100_12

REASONS = {DECLINED_FUNDS: "insufficient funds", DECLINED_CARD: "card refused", DECLINES_LATER: "refused by the bank"}


class SandboxGateway:
    """A provider without money, which answers by the amount (in minor units) so that each case can be tried:

    | amount | answer |
    | --- | --- |
    | 10002 | declined: insufficient funds |
    | 10005 | declined: card refused |
    | 10004 | the first call times out after the money was taken |
    | 10008 | the first call times out before the money was taken |
    | 10010 | pending, and captured after `delay` |
    | 10012 | pending, and declined after `delay` |
    | any other | captured |

    Args:
        maker: makes the sessions of the provider's own storage.
        delay: how long a delayed capture stays pending.
    """

    def __init__(self, maker: SessionMaker, delay: dt.timedelta = dt.timedelta(seconds=30)) -> None:
        self._maker = maker
        self._delay = delay

    async def capture(self, *, key: str, amount: int, currency: str) -> Capture:
        """See `PaymentGateway`."""
        async with transaction(self._maker) as session:
            values = {"key": key, "amount": amount, "currency": currency, "calls": 1}
            statement = insert(SandboxCapture).values(values)
            statement = statement.on_conflict_do_update(
                index_elements=["key"], set_={"calls": SandboxCapture.calls + 1}
            )
            row = (await session.scalars(statement.returning(SandboxCapture))).one()
        if row.calls == 1 and amount in (TIMES_OUT_AFTER, TIMES_OUT_BEFORE):
            raise GatewayUnavailable("the sandbox did not answer in time")
        return self._answer(row)

    async def find(self, key: str) -> Capture | None:
        """See `PaymentGateway`."""
        async with self._maker() as session:
            row = await session.get(SandboxCapture, key)
        if row is None or (row.amount == TIMES_OUT_BEFORE and row.calls == 1):
            return None
        return self._answer(row)

    def _answer(self, row: SandboxCapture) -> Capture:
        reference = f"sandbox-{row.key}"
        if row.amount in (DECLINED_FUNDS, DECLINED_CARD):
            return Capture(Outcome.DECLINED, reference, REASONS[row.amount])
        if row.amount in (SETTLES_LATER, DECLINES_LATER) and dt.datetime.now(dt.UTC) < row.created_at + self._delay:
            return Capture(Outcome.PENDING, reference)
        if row.amount == DECLINES_LATER:
            return Capture(Outcome.DECLINED, reference, REASONS[row.amount])
        return Capture(Outcome.CAPTURED, reference)
