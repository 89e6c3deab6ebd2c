"""The console as one Litestar router."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from litestar import Request, Response, Router
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.exceptions import ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.types import ControllerRouterHandler, ExceptionHandlersMap, Guard
from litestar.utils import ensure_async_callable

from saqueduct.application import Saqueduct
from saqueduct.common.near_names import did_you_mean
from saqueduct.common.people import Role
from saqueduct.common.sole_router import SoleRouter
from saqueduct.console.answers import HEADERS, led_to, lone_page, root_of
from saqueduct.console.assets import asset
from saqueduct.console.entry import ConsoleEntry, SignIn
from saqueduct.console.pages.audit import audit
from saqueduct.console.pages.dead_letters import DeadLetterPages
from saqueduct.console.pages.job import JobPage
from saqueduct.console.pages.jobs import JobPages
from saqueduct.console.pages.limits import LimitPages
from saqueduct.console.pages.live import live
from saqueduct.console.pages.login import LoginPages
from saqueduct.console.pages.look import set_look
from saqueduct.console.pages.menu import menu
from saqueduct.console.pages.overview import overview
from saqueduct.console.pages.post_only import post_only_pages
from saqueduct.console.pages.queues import QueuePages
from saqueduct.console.pages.schedules import SchedulePages
from saqueduct.console.pages.tasks import TaskPages
from saqueduct.console.pages.unknown import unknown_page
from saqueduct.console.pages.workers import WorkerPages
from saqueduct.console.sign_in import LOGIN, is_of_browser, login_address
from saqueduct.console.view import Console, View

KEPT: Final = ("WWW-Authenticate", "Retry-After", "Allow")
"""Headers of problem details that their pages have too."""

PAGES: Final[Sequence[ControllerRouterHandler]] = (
    overview,
    JobPages,
    JobPage,
    DeadLetterPages,
    TaskPages,
    QueuePages,
    WorkerPages,
    SchedulePages,
    LimitPages,
    audit,
    set_look,
    live,
    menu,
    LoginPages,
    unknown_page,
)


def console_router(
    saqueduct: Saqueduct,
    *,
    path: str,
    entry: ConsoleEntry,
    exception_handlers: ExceptionHandlersMap,
    base_path: str = "",
    opt: Mapping[str, Any] | None = None,
    max_body_bytes: int = 1024 * 1024,
) -> Router:
    """The console's routes, for `Litestar(route_handlers=[...])` of one application.

    Args:
        saqueduct: queues, tasks and PostgreSQL of the application.
        path: under which the pages are, such as "/console".
        entry: who may see them.
        exception_handlers: make problem details of errors, from which the pages of errors are made.
        base_path: path of the application, for `Litestar(path=...)`.
        opt: options of the handlers, for middleware of the application.
        max_body_bytes: bytes that a form may have.
    """
    prefix = "/".join(("", *(part for each in (base_path, path) for part in each.split("/") if part)))
    console = Console(saqueduct, prefix, entry)

    async def view(request: Request[Any, Any, Any]) -> View:
        found = View(console, request)
        if request.method == "GET" and not request.route_handler.opt.get("public"):
            found.look_ahead()
        return found

    return SoleRouter(
        path,
        route_handlers=[*PAGES, post_only_pages(PAGES), asset],
        guards=[EntryGuard(entry.guards)],
        dependencies={"view": Provide(view)},
        exception_handlers=as_pages(exception_handlers, prefix, entry.sign_in),
        response_headers=HEADERS,
        # Those of the application do not fit these handlers.
        request_class=Request,
        dto=None,
        return_dto=None,
        request_max_body_size=max_body_bytes,
        opt={"reads_body": True, "role": Role.VIEWER, **(opt or {})},
        include_in_schema=False,
    )


class EntryGuard:
    """What every request passes before its handler: the guards, except for public files, and the names of its query.

    Args:
        guards: asked in this order.
    """

    def __init__(self, guards: Sequence[Guard]) -> None:
        self._guards = [ensure_async_callable(guard) for guard in guards]

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Raise unless the request may pass.

        Raises:
            NotAuthorizedException, PermissionDeniedException, TooManyRequestsException: by a guard.
            ValidationException: the page has no such query parameter.
        """
        if not handler.opt.get("public"):
            for guard in self._guards:
                await guard(connection, handler)
        known = handler.opt.get("query", ())
        for name in connection.query_params:
            if name not in known:
                near = did_you_mean(name, known, otherwise="")
                raise ValidationException(f"this page has no parameter {name!r}" + (f": {near}" if near else ""))


def as_pages(handlers: ExceptionHandlersMap, prefix: str, sign_in: SignIn) -> ExceptionHandlersMap:
    """The same handlers, whose problem details become pages.

    Args:
        handlers: by class of error.
        prefix: path of the console.
        sign_in: where it takes passwords, browsers get the login page instead of a 401.
    """
    return {kind: partial(_page, handler, prefix, sign_in) for kind, handler in handlers.items()}


def _page(
    handler: Callable[[Request[Any, Any, Any], Any], Response[Any]],
    prefix: str,
    sign_in: SignIn,
    request: Request[Any, Any, Any],
    error: Exception,
) -> Response[Any]:
    problem = handler(request, error)
    status = problem.status_code or 500
    kept = {name: value for name, value in problem.headers.items() if name in KEPT}
    login = status == 401 and sign_in.takes_passwords
    if login and (address := login_address(request, prefix)):
        return led_to(address)
    if login and is_of_browser(request) and "authorization" not in request.headers:
        kept.pop("WWW-Authenticate", None)
    other = f"{root_of(request)}{prefix}/{LOGIN}" if sign_in.takes_passwords else ""
    return lone_page(prefix, request, "error.html", status, (), kept, detail=problem.content["detail"], login=other)
