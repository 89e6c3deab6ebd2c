"""What only the HTTP process provides; its container has this beside what `app/container.py` provides everywhere."""

from typing import Any

from dishka import AsyncContainer, Scope, provide
from dishka.integrations.litestar import LitestarProvider
from litestar import Request

from app.queue.catalog import TasksRegistry
from app.settings import Settings
from app.users.tokens import signing_key
from saqueduct import Queues
from saqueduct.litestar.attempts import Attempts
from saqueduct.litestar.links import JobLinks


class WebProvider(LitestarProvider):
    """Attempts, JobLinks, and the request."""

    @provide(scope=Scope.APP)
    def attempts(self, settings: Settings, queues: Queues) -> Attempts:
        return Attempts(next(iter(queues)), signing_key(settings))

    @provide(scope=Scope.APP)
    def links(self, settings: Settings) -> JobLinks:
        return JobLinks(signing_key(settings))


async def provide_registry(request: Request[Any, Any, Any]) -> TasksRegistry:
    """Litestar's own injection of TasksRegistry, for sync handlers: dishka serves only those that are `async def`.

    @post("/reports", sync_to_thread=True)
    def order(registry: NamedDependency[TasksRegistry]) -> str:
        return registry.weekly_report.delay().id
    """
    container: AsyncContainer = request.app.state.dishka_container
    return await container.get(TasksRegistry)
