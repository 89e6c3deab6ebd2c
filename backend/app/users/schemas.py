"""Request and response bodies."""

import datetime as dt
from typing import Annotated, Literal

import msgspec

from app.users.models import User, UserStatus

Email = Annotated[str, msgspec.Meta(max_length=254, description="An email address", examples=["ada@example.com"])]
NewPassword = Annotated[str, msgspec.Meta(min_length=12, max_length=128, description="12 to 128 characters")]
Password = Annotated[str, msgspec.Meta(max_length=128)]
RefreshToken = Annotated[str, msgspec.Meta(max_length=128)]


class Confidential(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of bodies that hold a secret: its `repr` shows no values, so that none gets into a log or an error."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"


class Registration(Confidential):
    """Body of `POST /users/register`."""

    email: Email
    password: NewPassword


class Login(Confidential):
    """Body of `POST /users/login`."""

    email: Email
    password: Password


class Refresh(Confidential):
    """Body of `POST /users/refresh` and `POST /users/logout`."""

    refresh_token: RefreshToken


class TokenPair(Confidential):
    """Answer to a login or refresh; the names are those of OAuth 2.0 (RFC 6749, section 5.1)."""

    access_token: str
    refresh_token: str
    expires_in: int
    """Seconds until the access token expires."""
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  (a word, no secret)


class StatusChange(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PATCH /users/{id}/status`."""

    status: UserStatus


class UserView(msgspec.Struct):
    """A user as others see it."""

    id: int
    email: str
    status: UserStatus
    created_at: dt.datetime

    @classmethod
    def of(cls, user: User) -> "UserView":
        return cls(id=user.id, email=user.email, status=user.status, created_at=user.created_at)
