"""What can go wrong with users.

AppError
├── InvalidEmail          400  no usable address
├── EmailTaken            409  there is an account of that address
├── UserNotFound          404
├── AccountNotActive      403  right password, but the account is inactive or suspended
└── Unauthorized          401
    ├── InvalidCredentials     unknown address or wrong password; deliberately one error
    ├── InvalidAccessToken     missing, forged, expired, or its session has ended
    └── InvalidRefreshToken    unknown, expired or revoked
        └── RefreshTokenReused     rotated before: the whole session has been revoked
"""

from app.errors import AppError, Conflict, NotFound, Unauthorized
from app.users.models import UserStatus


class InvalidEmail(AppError):
    """Mail cannot be sent to this address."""

    code = "invalid-email"


class EmailTaken(Conflict):
    """An account with that address already exists."""

    code = "email-taken"

    def __init__(self) -> None:
        super().__init__("there is an account with this email address: log in instead")


class UserNotFound(NotFound):
    """No user has that id."""

    code = "user-not-found"

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        super().__init__(f"there is no user {user_id}")


class AccountNotActive(AppError):
    """The account may not log in. Raised only after the right password was given."""

    status = 403
    code = "account-not-active"

    def __init__(self, status: UserStatus) -> None:
        super().__init__(f"the account is {status.value}: only active accounts can log in")


class InvalidCredentials(Unauthorized):
    """Unknown address or wrong password: the error does not say which."""

    code = "invalid-credentials"

    def __init__(self) -> None:
        super().__init__("the email address or the password is wrong")


class InvalidAccessToken(Unauthorized):
    """The request carries no access token that is valid now."""

    code = "invalid-access-token"

    def __init__(self) -> None:
        super().__init__("a valid access token is needed (Authorization: Bearer ...): log in or refresh")


class InvalidRefreshToken(Unauthorized):
    """The refresh token is unknown, expired or revoked."""

    code = "invalid-refresh-token"

    def __init__(self, detail: str = "the refresh token is not valid: log in again") -> None:
        super().__init__(detail)


class RefreshTokenReused(InvalidRefreshToken):
    """The refresh token was exchanged before: someone else may hold a copy, so its session was revoked."""

    code = "refresh-token-reused"

    def __init__(self) -> None:
        super().__init__("the refresh token was used before, so its session has been ended: log in again")
