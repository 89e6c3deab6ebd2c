"""The HTTP process: `create_app()`, and `python -m app.main` to serve it."""

import gc
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import uvicorn
from dishka import AsyncContainer, Provider
from litestar import Litestar, Router
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, Reference, SecurityScheme
from litestar.types import ControllerRouterHandler, Message, Scope
from litestar.utils.scope.state import ScopeState
from sqlalchemy.ext.asyncio import AsyncSession
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.campaigns.routes import CampaignController
from app.container import Transaction, build_container, container_of
from app.db.session import SessionMaker
from app.emails.routes import EmailController
from app.logs import configure_logging
from app.payments.routes import PaymentController
from app.queue.config import build_config
from app.queue.routes import process
from app.settings import Settings, SettingsError, load_settings
from app.todos.routes import TodoController
from app.tracing import tracer_provider
from app.users.routes import UserController
from app.version import __version__
from app.web.api_document import ApiDocument, operation_id
from app.web.api_page import ApiPage, schema_router
from app.web.edge import Edge
from app.web.errors import EXCEPTION_HANDLERS
from app.web.index import index
from app.web.protocol import bounded_protocol
from app.web.providers import WebProvider, provide_registry
from app.web.scopes import STATE, RequestContainer, serve_container
from app.web.tracing import web_plugins
from saqueduct import ConfigurationError
from saqueduct.litestar import SaqueductPlugin, SoleRouter
from saqueduct.litestar.access import Access
from saqueduct.litestar.guards import RoleGuard
from saqueduct.litestar.peers import KeepPeer
from saqueduct.litestar.requests import StrictRequest
from saqueduct.litestar.router import body_limit, install, prepare
from saqueduct.litestar.transactions import Sessions, roll_back
from saqueduct.litestar.unknown import declare

DOMAIN_ROUTES: Sequence[ControllerRouterHandler] = (
    UserController,
    TodoController,
    PaymentController,
    CampaignController,
)
"""The controllers of the domains, except that of mails: its bodies hold the arguments of a job."""

SECURITY_SCHEMES: dict[str, SecurityScheme | Reference] = {
    "AdminBasic": SecurityScheme(
        type="http",
        scheme="basic",
        description="a name and password of ADMIN_CREDENTIALS, or ADMIN_USERNAME and ADMIN_PASSWORD",
    ),
    "AdminToken": SecurityScheme(
        type="http", scheme="bearer", description="a token of ADMIN_CREDENTIALS, or ADMIN_TOKEN"
    ),
    "AccessToken": SecurityScheme(
        type="http", scheme="bearer", bearer_format="JWT", description="of POST /users/login"
    ),
}

GRACE_PERIOD = 10
"""Seconds that open requests get to end after SIGTERM."""


def create_app(settings: Settings | None = None, *overrides: Provider) -> Litestar:
    """Build the application.

    Args:
        settings: of this process; read from the environment by default.
        overrides: providers that replace the application's own, for tests.

    Raises:
        SettingsError: the settings are invalid or name no servers.
        ConfigurationError: the tasks do not fit the settings.
    """
    settings = (settings or load_settings()).require_servers()
    configure_logging(settings)
    provider = tracer_provider()
    limits = {"statement_timeout": settings.web.statement_timeout}
    more = (WebProvider(), *overrides)
    plugin = SaqueductPlugin(
        build_config(settings, lambda queues: build_container(settings, queues, *more, **limits), provider)
    )
    container = container_of(plugin.saqueduct.queues)
    plugin.config.api_sessions = _sessions(container)
    app = Litestar(
        route_handlers=[_own_routes(settings, plugin.access)],
        plugins=[plugin, *web_plugins(provider)],
        dependencies={"registry": Provide(provide_registry)},
        exception_handlers=EXCEPTION_HANDLERS,
        before_request=prepare,
        before_send=[end_transaction],
        logging_config=None,
        request_class=StrictRequest,
        request_max_body_size=settings.web.max_body_bytes,
        openapi_config=_openapi_config(),
    )
    declare(app)
    install(app)
    serve_container(container, app)
    app.asgi_handler = Edge(app.asgi_handler, settings)
    return app


def _openapi_config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Saqueduct",
        version=__version__,
        openapi_router=schema_router("/schema"),
        use_handler_docstrings=True,
        render_plugins=[ApiPage("/schema"), ApiDocument()],
        operation_id_creator=operation_id,
        components=Components(security_schemes=SECURITY_SCHEMES),
    )


def _sessions(container: AsyncContainer) -> Sessions:
    """The sessions of this application, whose statements have a time limit, for the API of the queue."""

    @asynccontextmanager
    async def session() -> AsyncIterator[AsyncSession]:
        maker = await container.get(SessionMaker)
        async with maker() as opened:
            yield opened

    return session


def _own_routes(settings: Settings, access: Access) -> Router:
    limit = max(body_limit(settings.queue.max_payload_bytes), settings.web.max_body_bytes)
    mails = SoleRouter("/", route_handlers=[EmailController], request_max_body_size=limit)
    return SoleRouter("/", route_handlers=[index, process, *DOMAIN_ROUTES, mails], guards=[RoleGuard(access)])


async def end_transaction(message: Message, scope: Scope) -> None:
    """Commit or roll back the request's session before the response is sent; if it cannot commit, the error is the
    response.

    The container closes its session only after the response has been sent, and does not see errors that became a
    response. A client must not read 201 before the commit, and a request that failed must not leave rows behind.
    """
    if message["type"] != "http.response.start":
        return
    requests: RequestContainer | None = scope["state"].get(STATE)
    if requests is None or requests.opened is None:
        return
    session = (await requests.opened.get(Transaction)).session
    if session is None:
        return
    if message["status"] < 400:
        # Litestar considers the response started; nothing has been sent, and an error may still replace it.
        ScopeState.from_scope(scope).response_started = False
        await session.commit()
        ScopeState.from_scope(scope).response_started = True
    else:
        await roll_back(session)


def behind_proxies(app: Any, trusted: Sequence[str]) -> Any:
    """The application with the client's address and scheme from the headers of these proxies."""
    return KeepPeer(cast("Any", ProxyHeadersMiddleware(app, list(trusted)))) if trusted else app


def main() -> None:
    """Serve the application; exits with 2 and a message when it is not configured."""
    try:
        settings = load_settings().require_servers()
        app = create_app(settings)
    except (SettingsError, ConfigurationError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    # Routes, models and modules live as long as the process. To search them takes 90 ms, in which no request is served.
    gc.collect()
    gc.freeze()
    uvicorn.run(
        behind_proxies(app, settings.trusted_proxies),
        http=bounded_protocol(settings.web.body_timeout),
        # By default uvicorn trusts every client on this machine.
        proxy_headers=False,
        host=settings.web.host,
        port=settings.web.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.web.keep_alive,
        timeout_graceful_shutdown=GRACE_PERIOD,
    )


if __name__ == "__main__":
    main()
