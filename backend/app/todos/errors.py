"""What can go wrong with todos."""

from app.errors import AppError, NotFound


class InvalidTitle(AppError):
    """The title is blank, too long or not plain text."""

    code = "invalid-title"


class TodoNotFound(NotFound):
    """There is no such todo, or it is another user's: the error does not say which."""

    code = "todo-not-found"

    def __init__(self, todo_id: int) -> None:
        self.todo_id = todo_id
        super().__init__(f"you have no todo {todo_id}")
