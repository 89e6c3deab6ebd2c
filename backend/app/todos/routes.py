"""Todos of the logged-in user over HTTP."""

from typing import Annotated

from dishka import FromDishka
from litestar import Controller, Response, delete, get, patch, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import UNSET

from app.todos.schemas import NewTodo, TodoChange, TodoPage, TodoView
from app.todos.service import TodoService
from app.users.guards import UserRequest, require_user
from app.web.scopes import inject

MAX_ID = 2**31 - 1
TodoId = Annotated[int, PathParameter(ge=1, le=MAX_ID)]
Limit = Annotated[int, QueryParameter(ge=1, le=100, description="at most that many")]
Before = Annotated[int | None, QueryParameter(ge=1, le=MAX_ID, description="`next` of the page before")]
Completed = Annotated[bool | None, QueryParameter(description="only those done (true) or not done (false)")]


class TodoController(Controller):
    """Todos; those of others do not exist here."""

    path = "/todos"
    tags = ("Todos",)
    guards = (require_user,)
    security = ({"AccessToken": []},)

    @get()
    @inject
    async def page(
        self,
        request: UserRequest,
        todos: FromDishka[TodoService],
        limit: Limit = 50,
        before: Before = None,
        completed: Completed = None,
    ) -> TodoPage:
        """Your todos, newest first."""
        found = await todos.newest(request.user.id, limit + 1, before, completed)
        items = [TodoView.of(todo) for todo in found[:limit]]
        return TodoPage(items, next=items[-1].id if len(found) > limit else None)

    @post()
    @inject
    async def create(
        self, request: UserRequest, data: JSONBody[NewTodo], todos: FromDishka[TodoService]
    ) -> Response[TodoView]:
        """Make a todo."""
        todo = await todos.create(request.user.id, data.title)
        return Response(TodoView.of(todo), headers={"Location": f"/todos/{todo.id}"})

    @get("/{todo_id:int}")
    @inject
    async def show(self, request: UserRequest, todo_id: TodoId, todos: FromDishka[TodoService]) -> TodoView:
        """One todo."""
        return TodoView.of(await todos.get(request.user.id, todo_id))

    @patch("/{todo_id:int}")
    @inject
    async def change(
        self, request: UserRequest, todo_id: TodoId, data: JSONBody[TodoChange], todos: FromDishka[TodoService]
    ) -> TodoView:
        """Change the title, mark it done, or not done again."""
        todo = await todos.change(
            request.user.id,
            todo_id,
            title=None if data.title is UNSET else data.title,
            completed=None if data.completed is UNSET else data.completed,
        )
        return TodoView.of(todo)

    @delete("/{todo_id:int}")
    @inject
    async def remove(self, request: UserRequest, todo_id: TodoId, todos: FromDishka[TodoService]) -> None:
        """Delete a todo."""
        await todos.delete(request.user.id, todo_id)

    @post("/{todo_id:int}/complete", status_code=200)
    @inject
    async def complete(self, request: UserRequest, todo_id: TodoId, todos: FromDishka[TodoService]) -> TodoView:
        """Mark a todo done; doing so again changes nothing."""
        return TodoView.of(await todos.change(request.user.id, todo_id, completed=True))
