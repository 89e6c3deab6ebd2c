"""The users' services, for routes and tasks."""

import datetime as dt

from dishka import Provider, Scope, provide
from sqlalchemy.ext.asyncio import AsyncSession

from app.emails.service import EmailService
from app.settings import Settings
from app.users.authentication import Authentication
from app.users.mails import UserMails
from app.users.passwords import Passwords
from app.users.service import UserService
from app.users.sessions import UserSessions
from app.users.tokens import AccessTokens, signing_key


class UsersProvider(Provider):
    """Passwords, AccessTokens, UserService, UserSessions, Authentication, UserMails."""

    @provide(scope=Scope.APP)
    async def passwords(self) -> Passwords:
        return await Passwords.create()

    @provide(scope=Scope.APP)
    def tokens(self, settings: Settings) -> AccessTokens:
        return AccessTokens(signing_key(settings), dt.timedelta(minutes=settings.users.access_token_minutes))

    @provide(scope=Scope.REQUEST)
    def users(self, session: AsyncSession) -> UserService:
        return UserService(session)

    @provide(scope=Scope.REQUEST)
    def sessions(self, session: AsyncSession, settings: Settings) -> UserSessions:
        return UserSessions(session, dt.timedelta(days=settings.users.refresh_token_days))

    @provide(scope=Scope.REQUEST)
    def authentication(
        self, users: UserService, sessions: UserSessions, passwords: Passwords, tokens: AccessTokens
    ) -> Authentication:
        return Authentication(users, sessions, passwords, tokens)

    @provide(scope=Scope.REQUEST)
    def mails(self, users: UserService, emails: EmailService) -> UserMails:
        return UserMails(users, emails)
