"""Mails to users."""

from app.emails.service import EmailService
from app.users.service import UserService

WELCOME_SUBJECT = "Welcome to Saqueduct"
WELCOME_BODY = """Hello,

your account {email} is ready: log in with the password you chose.

If you did not register, somebody gave your address by mistake. Nobody can read your mail through it.
"""


class UserMails:
    """The mails that users get.

    Args:
        users: the accounts.
        emails: sends.
    """

    def __init__(self, users: UserService, emails: EmailService) -> None:
        self._users = users
        self._emails = emails

    async def welcome(self, user_id: int) -> None:
        """Mail a user a welcome, once.

        Raises:
            UserNotFound: no user has that id.
            InvalidMail, TemporaryMailError, PermanentMailError: see `EmailService.send`.
        """
        user = await self._users.get(user_id)
        body = WELCOME_BODY.format(email=user.email)
        await self._emails.send(to=user.email, subject=WELCOME_SUBJECT, body=body, key=f"welcome:{user_id}")
