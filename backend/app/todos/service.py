"""Todos of one user, and the upkeep of all."""

import datetime as dt
import unicodedata
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.deletion import AfterBatch, delete_in_batches
from app.todos.errors import InvalidTitle, TodoNotFound
from app.todos.models import TITLE_LENGTH, Todo


class TodoService:
    """Rules of todos. Times are the database's, so that all processes agree.

    Args:
        session: flushed, never committed.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def create(self, user_id: int, title: str) -> Todo:
        """A new todo.

        Raises:
            InvalidTitle: see `clean_title`.
        """
        todo = Todo(user_id=user_id, title=clean_title(title))
        self._session.add(todo)
        await self._session.flush()
        return todo

    async def get(self, user_id: int, todo_id: int) -> Todo:
        """The user's todo with that id.

        Raises:
            TodoNotFound: there is none, or it is another user's.
        """
        query = select(Todo).where(Todo.id == todo_id, Todo.user_id == user_id)
        todo: Todo | None = await self._session.scalar(query)
        if todo is None:
            raise TodoNotFound(todo_id)
        return todo

    async def newest(
        self, user_id: int, limit: int, before: int | None = None, completed: bool | None = None
    ) -> Sequence[Todo]:
        """The user's todos, newest first.

        Args:
            user_id: whose.
            limit: at most that many.
            before: only ids below this one, the last of the page before.
            completed: only those done, or only those not done.
        """
        query = select(Todo).where(Todo.user_id == user_id).order_by(Todo.id.desc()).limit(limit)
        if before is not None:
            query = query.where(Todo.id < before)
        if completed is not None:
            query = query.where(Todo.completed_at.is_not(None) if completed else Todo.completed_at.is_(None))
        return (await self._session.scalars(query)).all()

    async def change(
        self, user_id: int, todo_id: int, *, title: str | None = None, completed: bool | None = None
    ) -> Todo:
        """Change the given fields; a todo that was already done keeps its completion time.

        Raises:
            InvalidTitle: see `clean_title`.
            TodoNotFound: see `get`.
        """
        todo = await self.get(user_id, todo_id)
        if title is not None:
            todo.title = clean_title(title)
        if completed is False:
            todo.completed_at = None
        elif completed and todo.completed_at is None:
            todo.completed_at = func.now()
        await self._session.flush()
        await self._session.refresh(todo)  # the times that the database chose
        return todo

    async def delete(self, user_id: int, todo_id: int) -> None:
        """Delete the user's todo.

        Raises:
            TodoNotFound: see `get`.
        """
        await self._session.delete(await self.get(user_id, todo_id))
        await self._session.flush()

    async def delete_completed_todos_older_than(self, days: int, after_batch: AfterBatch = None) -> int:
        """Delete all users' todos that were completed more than `days` days ago; return how many.

        Args:
            days: at least 1.
            after_batch: see `AfterBatch`.

        Raises:
            ValueError: `days` is below 1.
        """
        if days < 1:
            raise ValueError(f"days must be at least 1, not {days}: fresh todos are not to be deleted")
        old = Todo.completed_at < func.now() - dt.timedelta(days=days)
        return await delete_in_batches(self._session, Todo, old, after_batch)


def clean_title(title: str) -> str:
    """The title without blanks around it.

    Raises:
        InvalidTitle: it is blank, longer than TITLE_LENGTH characters or has control characters.
    """
    cleaned = title.strip()
    if not cleaned:
        raise InvalidTitle("the title is blank")
    if len(cleaned) > TITLE_LENGTH:
        raise InvalidTitle(f"the title has {len(cleaned)} characters, at most {TITLE_LENGTH} are allowed")
    if any(unicodedata.category(character) == "Cc" for character in cleaned):
        raise InvalidTitle("the title has line breaks or other control characters")
    return cleaned
