"""The payments' services, for routes and tasks."""

import logging

from dishka import Provider, Scope, provide
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.session import SessionMaker
from app.payments.capturing import Capturing
from app.payments.gateway import PaymentGateway, SandboxGateway
from app.payments.service import PaymentService
from app.settings import Settings

logger = logging.getLogger("app.payments")


class PaymentsProvider(Provider):
    """PaymentGateway, Capturing, PaymentService. Replace the sandbox with a real provider here."""

    @provide(scope=Scope.APP)
    def gateway(self, maker: SessionMaker, settings: Settings) -> PaymentGateway:
        if settings.production:
            logger.warning("payments go to the sandbox, which takes no money: configure a provider in %s", __name__)
        return SandboxGateway(maker)

    @provide(scope=Scope.APP)
    def capturing(self, maker: SessionMaker, gateway: PaymentGateway) -> Capturing:
        return Capturing(maker, gateway)

    @provide(scope=Scope.REQUEST)
    def payments(self, session: AsyncSession) -> PaymentService:
        return PaymentService(session)
