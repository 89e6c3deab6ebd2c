"""Request and response bodies."""

import datetime as dt
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from app.todos.models import TITLE_LENGTH, Todo

Title = Annotated[str, msgspec.Meta(min_length=1, max_length=TITLE_LENGTH, examples=["Buy milk"])]


class NewTodo(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /todos`."""

    title: Title


class TodoChange(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PATCH /todos/{id}`; omitted fields stay unchanged."""

    title: Title | UnsetType = UNSET
    completed: bool | UnsetType = UNSET


class TodoView(msgspec.Struct):
    """A todo; `completed_at` is null until it is done."""

    id: int
    title: str
    completed: bool
    completed_at: dt.datetime | None
    created_at: dt.datetime
    updated_at: dt.datetime

    @classmethod
    def of(cls, todo: Todo) -> "TodoView":
        return cls(
            id=todo.id,
            title=todo.title,
            completed=todo.completed_at is not None,
            completed_at=todo.completed_at,
            created_at=todo.created_at,
            updated_at=todo.updated_at,
        )


class TodoPage(msgspec.Struct):
    """Some todos, newest first; `next` goes into `before=` for those that follow, null at the end."""

    items: list[TodoView]
    next: int | None
