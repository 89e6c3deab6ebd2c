"""The container's scope of a request, opened only when a request asks for something that lives as long as it does."""

from typing import Any, Final

from dishka import DEFAULT_COMPONENT, AsyncContainer, DependencyKey, Scope
from dishka.integrations.litestar import make_add_request_container_middleware
from litestar import Litestar, Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Send
from litestar.types import Scope as ConnectionScope

STATE: Final = "dishka_container"
"""Where dishka's integration with Litestar looks for the container."""


class RequestContainer:
    """What `inject` takes for the container of one request.

    Dependencies of the process, such as the queues, come from the process's container. The first dependency of the
    request itself opens a scope; a request without any needs neither a scope nor a session.

    Args:
        container: of the process.
        connection: of the request.
    """

    __slots__ = ("_connection", "_container", "opened")

    def __init__(self, container: AsyncContainer, connection: ConnectionScope) -> None:
        self._container = container
        self._connection = connection
        self.opened: AsyncContainer | None = None
        """The request's own container; None: nothing has been requested from it."""

    async def get(self, dependency_type: Any, component: str = DEFAULT_COMPONENT) -> Any:
        """A dependency, as dishka's `AsyncContainer.get`."""
        if self.opened is None:
            if self._container.registry.get_factory(DependencyKey(dependency_type, component)) is not None:
                return await self._container.get(dependency_type, component)
            request: Request[Any, Any, Any] = Request(self._connection)
            self.opened = await self._container({Request: request}, scope=Scope.REQUEST).__aenter__()
        return await self.opened.get(dependency_type, component)


class RequestScopes:
    """ASGI application around another: gives each request its `RequestContainer`, and closes what it has opened.

    Args:
        app: the application.
        container: of the process.
    """

    def __init__(self, app: ASGIApp, container: AsyncContainer) -> None:
        self._app = app
        self._websockets = make_add_request_container_middleware(app)
        self._container = container

    async def __call__(self, scope: ConnectionScope, receive: Receive, send: Send) -> None:
        """Serve a connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._websockets(scope, receive, send)
            return
        lazy = RequestContainer(self._container, scope)
        state = scope["state"]
        state[STATE] = lazy
        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            if lazy.opened is not None:
                await lazy.opened.close(error)
            raise
        finally:
            # The two refer to each other: only the garbage collector would free them, and all that the request holds.
            del state[STATE]
        if lazy.opened is not None:
            await lazy.opened.close()


def serve_container(container: AsyncContainer, app: Litestar) -> None:
    """Let handlers and guards of an application have injected what a container provides; in place of `setup_dishka`."""
    app.asgi_handler = RequestScopes(app.asgi_handler, container)
    app.state[STATE] = container
