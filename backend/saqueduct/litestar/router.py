"""The queue's HTTP API as one Litestar router."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from litestar import Litestar, Request, Router
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import ControllerRouterHandler, Scope

from saqueduct.common.secret import Secret
from saqueduct.errors import ConfigurationError
from saqueduct.litestar.access import Access, Shared
from saqueduct.litestar.errors import HEADERS, router_handlers
from saqueduct.litestar.guards import RoleGuard, past_middleware, same_site
from saqueduct.litestar.keys import KeyPaths, collections, unescape
from saqueduct.litestar.links import JobLinks
from saqueduct.litestar.requests import StrictRequest
from saqueduct.litestar.routes.audit import AuditController
from saqueduct.litestar.routes.health import HealthController
from saqueduct.litestar.routes.history import HistoryController
from saqueduct.litestar.routes.jobs import JobController
from saqueduct.litestar.routes.limits import LimitController
from saqueduct.litestar.routes.queues import QueueController
from saqueduct.litestar.routes.records import DeadLetterController, RecordController
from saqueduct.litestar.routes.schedules import ScheduleController
from saqueduct.litestar.routes.tasks import TaskCatalogController
from saqueduct.litestar.routes.workers import WorkerController
from saqueduct.litestar.services import QueueServices
from saqueduct.litestar.transactions import Sessions
from saqueduct.litestar.unknown import DECLARED, declare, refuse_unknown
from saqueduct.queue.queues import Queues
from saqueduct.tasks import current_job
from saqueduct.tasks.registry import TaskRegistry
from saqueduct.telemetry.reporter import MetricsReporter

if TYPE_CHECKING:
    from saqueduct.postgres.store import PostgresStore

ROUTES: Final[Sequence[ControllerRouterHandler]] = (
    HealthController,
    JobController,
    RecordController,
    QueueController,
    ScheduleController,
    LimitController,
    WorkerController,
    AuditController,
    HistoryController,
)

PAYLOAD_ROUTES: Final[Sequence[ControllerRouterHandler]] = (TaskCatalogController, DeadLetterController)
"""Routes whose body holds the arguments of a job: it may be as large as those."""

PREFIX: Final = "saqueduct"
"""Option of the router's handlers: the path of the router, empty for "/"."""


class QueueParts(Protocol):
    """What the router needs; a `Saqueduct` has all of it."""

    @property
    def queues(self) -> Queues:
        """The queues; connected before the first request."""
        ...

    @property
    def registry(self) -> TaskRegistry:
        """The tasks that can be listed and enqueued."""
        ...

    @property
    def store(self) -> "PostgresStore | None":
        """What PostgreSQL keeps; None: no job records and no dead letters."""
        ...

    @property
    def signing_key(self) -> Secret:
        """Signs the tokens in the addresses of jobs; the same in all processes."""
        ...


def queue_router(
    parts: QueueParts,
    *,
    path: str,
    access: Access,
    max_payload_bytes: int,
    sessions: Sessions | None = None,
    base_path: str = "",
    metrics: MetricsReporter | None = None,
    metrics_token: Secret | None = None,
    kind: type[Router] = Router,
) -> Router:
    """The routes of the queue, for `Litestar(route_handlers=[...])`. Call `install` on the application, too.

    Args:
        parts: queues, tasks, PostgreSQL and key.
        path: under which the routes are, such as "/queue" or "/".
        access: who may call the routes that need a role.
        max_payload_bytes: bytes that the arguments of a job may take; sets the largest body of routes that enqueue.
        sessions: opens the session of a request that needs one; by default on the connections of `parts.store`.
        base_path: path of the application, for `Litestar(path=...)`.
        metrics: what `/metrics` serves; None: there is no such route.
        metrics_token: bearer token that opens `/metrics` and the numbers for autoscalers; None: only people with a
            role may read them.
        kind: of the routers; `SoleRouter` for a single application.

    Raises:
        ConfigurationError: the path has parameters.
    """
    prefix = whole_path(base_path, path)
    if sessions is None and parts.store is not None:
        sessions = parts.store.sessions
    links = JobLinks(parts.signing_key, prefix)
    services = QueueServices(parts.queues, parts.registry, links, sessions, metrics_token)
    with_payloads = kind("/", route_handlers=PAYLOAD_ROUTES, request_max_body_size=body_limit(max_payload_bytes))
    return kind(
        path,
        route_handlers=[*ROUTES, with_payloads, *_metrics_routes(metrics)],
        guards=[RequestGuard(RoleGuard(access))],
        dependencies={"services": _provide(services)},
        exception_handlers=router_handlers(),
        request_class=StrictRequest,
        response_headers=HEADERS,
        # Those of the application do not fit these handlers.
        dto=None,
        return_dto=None,
        opt={PREFIX: prefix} | past_middleware(access),
    )


def install(app: Litestar) -> None:
    """Let the keys of jobs and schedules, and the names of limits, in the paths of the router contain any character,
    such as `/`.

    Call it once the application is built, before its first request. A second call does nothing.

    Raises:
        ConfigurationError: the router is inside another one, below a path that it does not know.
    """
    for prefix in _prefixes(app):
        installed = app.state.setdefault("saqueduct_key_paths", set())
        if prefix not in installed:
            installed.add(prefix)
            app.asgi_handler = KeyPaths(app.asgi_handler, prefix, collections(app, prefix, PREFIX))


class RequestGuard(Shared):
    """What every request to the router passes before its handler.

    A guard, because a `before_request` of the router would replace the application's.

    Args:
        roles: guards the routes that need a role.
    """

    def __init__(self, roles: RoleGuard) -> None:
        self._roles = roles

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Refuse pages of other sites, people whose role is not enough, and unknown parameters.

        Raises:
            PermissionDeniedException: a page of another site sent the request.
            NotAuthorizedException, PermissionDeniedException, TooManyRequestsException: see `RoleGuard`.
            ValidationException: see `refuse_unknown`.
        """
        request = cast("Request[Any, Any, Any]", connection)
        await same_site(request, handler)
        await self._roles(request, handler)
        if DECLARED not in handler.opt:
            declare(request.app, PREFIX)
        await prepare(request)


async def prepare(request: Request[Any, Any, Any]) -> None:
    """Give a handler the key of its path, refuse what it does not declare, and let the jobs that it enqueues join the
    trace of the request.

    Raises:
        ValidationException: see `refuse_unknown`.
    """
    unescape(request.scope)
    await refuse_unknown(request)
    current_job.follow(_traceparent(request.scope["headers"]))


def _traceparent(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """That header of a request; Litestar would decode all of them first."""
    return next((value.decode("latin-1") for name, value in headers if name == b"traceparent"), None)


def whole_path(*parts: str) -> str:
    """These paths as one, such as "/api/queue"; empty for "/".

    Raises:
        ConfigurationError: it has a parameter.
    """
    path = "/".join(("", *(part for each in parts for part in each.split("/") if part)))
    if "{" in path:
        raise ConfigurationError(f"the path {path!r} of the queue's HTTP API has a parameter: choose one without")
    return path


def body_limit(max_payload_bytes: int) -> int:
    """Bytes that the body of a request may have that holds the arguments of a job."""
    # JSON that escapes every character takes up to three times as many bytes as the arguments in UTF-8.
    return max(3 * max_payload_bytes + 16 * 1024, 64 * 1024)


def _metrics_routes(metrics: MetricsReporter | None) -> Sequence[ControllerRouterHandler]:
    if metrics is None:
        return ()
    # Here: it needs prometheus-client.
    from saqueduct.litestar.routes.metrics import metrics_route

    return (metrics_route(metrics),)


def _provide(services: QueueServices) -> Provide:
    async def provide(scope: Scope) -> QueueServices:
        root_path = scope.get("root_path")
        return services.under(root_path) if root_path else services

    return Provide(provide)


def _prefixes(app: Litestar) -> set[str]:
    found: set[str] = set()
    for route in app.routes:
        for prefix in {each.opt[PREFIX] for each in _handlers(route) if PREFIX in each.opt}:
            if not route.path.startswith(f"{prefix}/"):
                raise ConfigurationError(
                    f"the queue's HTTP API for the path {prefix or '/'!r} is at {route.path!r}: add the router to the "
                    "application itself, and give queue_router the whole path; for Litestar(path=...) its base_path"
                )
            found.add(prefix)
    return found


def _handlers(route: BaseRoute) -> Sequence[BaseRouteHandler]:
    return route.route_handlers if isinstance(route, HTTPRoute) else ()
