"""Users and the sessions of their refresh tokens."""

import datetime as dt
import enum
import uuid

from sqlalchemy import Enum, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Identified, Timestamped


class UserStatus(enum.StrEnum):
    """Whether a user may log in; only ACTIVE ones may."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    SUSPENDED = "suspended"


class User(Identified, Timestamped, Base):
    """A person with an account."""

    __tablename__ = "users"

    email: Mapped[str] = mapped_column(String(254), unique=True)
    """As `normalize_email` writes it: one spelling an address, so that uniqueness ignores case."""
    password_hash: Mapped[str] = mapped_column(String(255))
    status: Mapped[UserStatus] = mapped_column(
        Enum(
            UserStatus,
            name="status",
            native_enum=False,
            create_constraint=True,
            length=16,
            values_callable=lambda statuses: [status.value for status in statuses],
        ),
        default=UserStatus.ACTIVE,
    )


class UserSession(Identified, Base):
    """One refresh token of a login. All tokens that come from one login share its `family`.

    A token is live until it is rotated (exchanged for the next of its family), revoked or expired.
    """

    __tablename__ = "user_sessions"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    family: Mapped[uuid.UUID] = mapped_column(index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    """SHA-256 of the token; the token itself is stored nowhere."""
    created_at: Mapped[dt.datetime]
    last_used_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime] = mapped_column(index=True)
    rotated_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None] = mapped_column(index=True)
