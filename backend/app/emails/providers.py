"""The emails' services, for routes and tasks."""

from dishka import Provider, Scope, provide

from app.db.session import SessionMaker
from app.emails.mailers import Mailer, make_mailer
from app.emails.service import EmailService
from app.settings import Settings


class EmailsProvider(Provider):
    """Mailer, EmailService."""

    scope = Scope.APP

    @provide
    def mailer(self, settings: Settings) -> Mailer:
        return make_mailer(settings)

    @provide
    def emails(self, maker: SessionMaker, mailer: Mailer, settings: Settings) -> EmailService:
        return EmailService(maker, mailer, settings.smtp.sender)
