"""The HTTP process: `create_app()`, and `python -m app.main` to serve it."""

import logging
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from dishka import AsyncContainer, Provider
from litestar import Litestar, Request, Router
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, Reference, SecurityScheme
from litestar.types import ControllerRouterHandler, Message, Scope
from litestar.utils.scope.state import ScopeState
from sqlalchemy.ext.asyncio import AsyncSession

from app import __version__
from app.campaigns.routes import CampaignController
from app.container import Transaction, build_container, provide_registry
from app.emails.routes import EmailController
from app.errors import EXCEPTION_HANDLERS
from app.health import HealthController
from app.logs import configure_logging
from app.payments.routes import PaymentController
from app.queue.config import build_config
from app.security import AdminGuard
from app.settings import Settings, SettingsError, load_settings
from app.todos.routes import TodoController
from app.users.routes import UserController
from app.web.api_document import ApiDocument, operation_id
from app.web.api_page import ApiPage, schema_router
from app.web.edge import Edge
from app.web.index import index
from app.web.keys import collections, unescape
from app.web.protocol import bounded_protocol
from app.web.requests import AppRequest
from app.web.scopes import STATE, RequestContainer, serve_container
from app.web.unknown import declare, refuse_unknown
from saqueduct import ConfigurationError, Saqueduct
from saqueduct.litestar.routes import (
    DeadLetterController,
    JobController,
    QueueController,
    RecordController,
    ScheduleController,
    TaskController,
    process,
)
from saqueduct.litestar.saq_plugin import QueuePlugin, saq_config
from saqueduct.tasks import current_job

logger = logging.getLogger("app.http")

QUEUE_ROUTES: Sequence[ControllerRouterHandler] = (
    process,
    JobController,
    RecordController,
    QueueController,
    ScheduleController,
)
"""The HTTP face of the queue."""

PAYLOAD_ROUTES: Sequence[ControllerRouterHandler] = (TaskController, DeadLetterController, EmailController)
"""Routes whose body is, or holds, the arguments of a job: it may be as large as those."""

DOMAIN_ROUTES: Sequence[ControllerRouterHandler] = (
    UserController,
    TodoController,
    PaymentController,
    CampaignController,
)
"""The controllers of the domains."""

SECURITY_SCHEMES: dict[str, SecurityScheme | Reference] = {
    "AdminBasic": SecurityScheme(type="http", scheme="basic", description="ADMIN_USERNAME and ADMIN_PASSWORD"),
    "AdminToken": SecurityScheme(type="http", scheme="bearer", description="ADMIN_TOKEN"),
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
    saqueduct = Saqueduct(build_config(settings))
    container = build_container(
        settings, saqueduct.queues, *overrides, statement_timeout=settings.web.statement_timeout
    )
    app = Litestar(
        route_handlers=[index, HealthController, *QUEUE_ROUTES, *DOMAIN_ROUTES, _payload_routes(settings)],
        plugins=[QueuePlugin(saq_config(saqueduct.queues, [AdminGuard(settings, everywhere=True)]))],
        guards=[AdminGuard(settings)],
        dependencies={"registry": Provide(provide_registry)},
        exception_handlers=EXCEPTION_HANDLERS,
        before_request=arrive,
        before_send=[end_transaction],
        lifespan=[_lifespan(container, saqueduct)],
        logging_config=None,
        request_class=AppRequest,
        request_max_body_size=settings.web.max_body_bytes,
        openapi_config=OpenAPIConfig(
            title="Saqueduct",
            version=__version__,
            openapi_router=schema_router("/schema"),
            use_handler_docstrings=True,
            render_plugins=[ApiPage("/schema"), ApiDocument()],
            operation_id_creator=operation_id,
            components=Components(security_schemes=SECURITY_SCHEMES),
        ),
    )
    declare(app)
    serve_container(container, app)
    app.asgi_handler = Edge(app.asgi_handler, settings, collections(app))
    return app


def _payload_routes(settings: Settings) -> Router:
    # JSON that escapes every character takes up to three times as many bytes as the arguments in UTF-8.
    payload = 3 * settings.queue.max_payload_bytes + 16 * 1024
    return Router("/", route_handlers=PAYLOAD_ROUTES, request_max_body_size=max(payload, settings.web.max_body_bytes))


def _lifespan(container: AsyncContainer, saqueduct: Saqueduct) -> Any:
    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with saqueduct:
            yield
            await container.close()

    return lifespan


async def arrive(request: Request[Any, Any, Any]) -> None:
    """Before a handler is called: give it the key of the path, refuse what it does not declare, and let the jobs that
    it enqueues belong to the trace of the request.

    Raises:
        ValidationException: see `refuse_unknown`.
    """
    unescape(request.scope)
    await refuse_unknown(request)
    current_job.follow(request.headers.get("traceparent"))


async def end_transaction(message: Message, scope: Scope) -> None:
    """Commit or roll back the request's session before the answer leaves; where it cannot commit, the error is the
    answer.

    The container closes its session only after the answer has been sent, and sees no error that has become an
    answer; a client must not read 201 before the commit, nor an error leave its rows behind.
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
        # Litestar takes the answer for begun; nothing of it has left, and an error may still take its place.
        ScopeState.from_scope(scope).response_started = False
        await session.commit()
        ScopeState.from_scope(scope).response_started = True
    else:
        await _roll_back(session)


async def _roll_back(session: AsyncSession) -> None:
    """Roll back behind an error answer, which tells its reader enough if the database is away."""
    try:
        await session.rollback()
    except Exception as error:
        logger.warning("a transaction could not be rolled back, its connection is given up: %s", error)
        await session.invalidate()


def main() -> None:
    """Serve the application; exits with 2 and a message when it is not configured."""
    try:
        settings = load_settings().require_servers()
        app = create_app(settings)
    except (SettingsError, ConfigurationError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    uvicorn.run(
        app,
        http=bounded_protocol(settings.web.body_timeout),
        # By default uvicorn believes whoever connects from this machine.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        host=settings.web.host,
        port=settings.web.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_PERIOD,
    )


if __name__ == "__main__":
    main()
