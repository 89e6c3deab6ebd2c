"""Todos."""

import datetime as dt

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Identified, Timestamped

TITLE_LENGTH = 200
"""Most characters of a title."""


class Todo(Identified, Timestamped, Base):
    """A todo of a user; done when `completed_at` is set."""

    __tablename__ = "todos"
    __table_args__ = (Index(None, "user_id", "id"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(String(TITLE_LENGTH))
    completed_at: Mapped[dt.datetime | None] = mapped_column(index=True)
