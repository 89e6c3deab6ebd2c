"""The rules of todos, without HTTP. (Those seen over HTTP are in test_routes.py.)"""

import datetime as dt

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.deletion import BATCH_SIZE
from app.todos.errors import InvalidTitle
from app.todos.models import Todo
from app.todos.service import TodoService, clean_title
from tests.todos.rows import add_old_todos, add_todo, add_user


@pytest.fixture
def todos(session: AsyncSession) -> TodoService:
    return TodoService(session)


@pytest.mark.parametrize(("title", "problem"), [(" ", "blank"), ("x" * 201, "201 characters"), ("a\x1bb", "control")])
def test_a_title_that_cannot_be_says_why(title: str, problem: str) -> None:
    with pytest.raises(InvalidTitle, match=problem):
        clean_title(title)


async def test_creating_flushes_but_does_not_commit(todos: TodoService, session: AsyncSession) -> None:
    user_id = await add_user(session)
    assert (await todos.create(user_id, "Buy milk")).id
    await session.rollback()
    assert (await session.scalars(select(Todo))).all() == []


async def test_only_todos_completed_long_ago_are_deleted(todos: TodoService, session: AsyncSession) -> None:
    user_id = await add_user(session)
    old = await add_todo(session, user_id, completed=dt.timedelta(days=7, minutes=1))
    lately = await add_todo(session, user_id, completed=dt.timedelta(days=7, minutes=-1))
    never = await add_todo(session, user_id, created=dt.timedelta(days=700))
    assert await todos.delete_completed_todos_older_than(days=7) == 1
    left = (await session.scalars(select(Todo.id).order_by(Todo.id))).all()
    assert left == [lately, never]
    assert old not in left
    assert await todos.delete_completed_todos_older_than(days=7) == 0


async def test_todos_are_deleted_in_batches_of_all_users(todos: TodoService, session: AsyncSession) -> None:
    for name in ("ada", "eve"):
        await add_old_todos(session, await add_user(session, f"{name}@example.com"), BATCH_SIZE)
    left: list[int] = []

    async def count() -> None:
        left.append(await session.scalar(select(func.count(Todo.id))) or 0)

    assert await todos.delete_completed_todos_older_than(7, after_batch=count) == 2 * BATCH_SIZE
    assert left == [BATCH_SIZE, 0]


@pytest.mark.parametrize("days", [0, -1])
async def test_fresh_todos_cannot_be_cleaned_up(todos: TodoService, session: AsyncSession, days: int) -> None:
    await add_todo(session, await add_user(session), completed=dt.timedelta(0))
    with pytest.raises(ValueError, match="at least 1"):
        await todos.delete_completed_todos_older_than(days)
    assert len((await session.scalars(select(Todo.id))).all()) == 1
