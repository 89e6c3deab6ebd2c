"""The todos' service, for routes and tasks."""

from dishka import Provider, Scope, provide

from app.todos.service import TodoService


class TodosProvider(Provider):
    """TodoService."""

    todos = provide(TodoService, scope=Scope.REQUEST)
