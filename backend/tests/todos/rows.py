"""Rows of users and todos, straight in the database."""

import datetime as dt

from sqlalchemy.ext.asyncio import AsyncSession

from app.todos.models import Todo
from app.users.models import User


async def add_user(session: AsyncSession, email: str = "ada@example.com") -> int:
    """A user; returns the id."""
    user = User(email=email, password_hash="none")
    session.add(user)
    await session.flush()
    return user.id


async def add_old_todos(session: AsyncSession, user_id: int, count: int) -> None:
    """Todos that were completed 8 days ago."""
    at = dt.datetime.now(dt.UTC) - dt.timedelta(days=8)
    session.add_all(Todo(user_id=user_id, title="Buy milk", completed_at=at) for _ in range(count))
    await session.flush()


async def add_todo(
    session: AsyncSession,
    user_id: int,
    *,
    completed: dt.timedelta | None = None,
    created: dt.timedelta = dt.timedelta(0),
) -> int:
    """A todo that was completed, and made, so long ago; returns the id."""
    now = dt.datetime.now(dt.UTC)
    todo = Todo(
        user_id=user_id,
        title="Buy milk",
        created_at=now - created,
        completed_at=None if completed is None else now - completed,
    )
    session.add(todo)
    await session.flush()
    return todo.id
