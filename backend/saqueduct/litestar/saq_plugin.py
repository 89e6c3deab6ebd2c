"""The Litestar plugin: queues for the routes, and SAQ's web UI: guarded, redacted, and rendered from text only.

Subclasses `litestar_saq.SAQPlugin` of litestar-saq 0.8. Overridden, and why:

- `on_app_init`: the original starts a worker heartbeat thread in the web process, serves the UI's static
  files without the guards, and shows every argument.
- `get_workers`: the original builds its own Worker class; jobs are run by `python -m app.worker` instead.
- `on_cli_init`: its `workers` commands would start those workers.

The page of its controller is served with the path that the client sees: the original ignores the path of the
application and of a proxy.
"""

import base64
import hashlib
import html
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from enum import Enum
from functools import partial
from typing import Any, cast
from urllib.parse import quote

from click import Group
from litestar import Controller, MediaType, Request, Response, Router, get
from litestar.config.app import AppConfig
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect
from litestar.status_codes import (
    HTTP_307_TEMPORARY_REDIRECT,
    HTTP_500_INTERNAL_SERVER_ERROR,
    HTTP_503_SERVICE_UNAVAILABLE,
)
from litestar.types import Guard
from litestar.utils.path import normalize_path
from litestar_saq import QueueConfig, SAQConfig, SAQPlugin, TaskQueues
from litestar_saq.controllers import build_controller
from saq import Job
from saq.queue import Queue
from saq.types import QueueInfo

from saqueduct.broker.outage import answering
from saqueduct.common.sole_router import SoleRouter
from saqueduct.console.answers import led_to
from saqueduct.console.sign_in import login_address
from saqueduct.litestar.access import AllOf
from saqueduct.litestar.audit import audit_entry
from saqueduct.litestar.errors import HEADERS, http_error, router_handlers
from saqueduct.litestar.guards import MethodGuard, past_middleware, same_site
from saqueduct.litestar.static_files import read, serve_files
from saqueduct.queue.audit import Action, Audit
from saqueduct.queue.queue import EngineQueue
from saqueduct.queue.queues import Queues
from saqueduct.queue.redacted_view import RedactedView


def saq_config(queues: Queues, guards: Iterable[Any] = (), path: str | None = "/saq") -> SAQConfig:
    """litestar-saq's settings for these queues.

    Args:
        queues: to inject as `task_queues` and to show.
        guards: of the web UI.
        path: of the web UI; None: there is none.
    """
    return SAQConfig(
        queue_configs=[QueueConfig(broker_instance=queue.redis, name=queue.name) for queue in queues],
        queue_instances=dict(queues.by_name),
        web_enabled=path is not None,
        web_path=path or "",
        web_guards=list(guards) or None,
        enable_otel=False,
    )


class QueuePlugin(SAQPlugin):
    """Wires the queues of a SAQConfig into the Litestar application.

    Args:
        config: by `saq_config`.
        audit: notes the actions of the UI.
        console: path of the console, on whose login page browsers sign in; None: they ask by themselves.
    """

    __slots__ = ("_audit", "_console")

    def __init__(self, config: SAQConfig, audit: Audit, console: str | None = None) -> None:
        super().__init__(config)
        self._audit = audit
        self._console = console

    def on_cli_init(self, cli: Group) -> None:
        """Add no command."""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Provide the queues to handlers, and mount the web UI behind `web_guards`."""
        config = self.config
        app_config.dependencies[config.queues_dependency_key] = Provide(config.provide_queues)
        # litestar-saq's routes declare their dependency by name alone, of which Litestar 2.25 warns.
        named = {TaskQueues.__name__: NamedDependency[TaskQueues]}
        app_config.signature_namespace.update(config.signature_namespace | named)
        if config.web_enabled:
            ui = _ui(config, self._audit, app_config.path, app_config.before_request, self._console)
            app_config.route_handlers.append(ui)
        return app_config

    def get_workers(self) -> dict[str, Any]:
        """No worker lives in the web process."""
        return {}


RENDERED_BY_SAQ = ("kwargs", "result")
"""Fields of a single job that SAQ's controller makes text of; in a list of jobs it does not."""


def as_text(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a job for SAQ's page, which gives them to its virtual DOM: an object there becomes markup.

    Numbers stay, and so do the fields of RENDERED_BY_SAQ.
    """

    def text(name: str, value: Any) -> Any:
        if isinstance(value, Enum):
            return value.value
        return value if value is None or isinstance(value, int | float) or name in RENDERED_BY_SAQ else str(value)

    return {name: text(name, value) for name, value in fields.items()}


def as_row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As `as_text`, for a list of jobs."""
    rendered = {name: repr(fields[name]) for name in RENDERED_BY_SAQ if fields.get(name) is not None}
    return as_text(fields) | rendered


Doing = Callable[[Action, Job], AbstractAsyncContextManager[Any]]


class ShownQueue:
    """A queue as the UI may see it: what SAQ's controller needs of a queue, with the jobs redacted.

    Its methods raise QueueUnavailable where Redis does not answer in time.

    Args:
        queue: the queue.
        doing: notes an action on a job in the audit, while it is done.
    """

    def __init__(self, queue: EngineQueue, doing: Doing) -> None:
        self._queue, self._doing = queue, doing
        self._view = RedactedView(queue.tasks)

    async def info(self, jobs: bool = False) -> QueueInfo:
        """The queue in numbers, and with `jobs` some of its jobs."""
        async with answering(self._queue.core.timings.answer):
            info = await self._queue.info(jobs=jobs)
        info["jobs"] = [as_row(self._view.of_job(fields)) for fields in info["jobs"]]
        return info

    async def job(self, job_key: str) -> "ShownJob | None":
        """The job of that key, or None."""
        async with answering(self._queue.core.timings.answer):
            job = await self._queue.job(job_key)
        return ShownJob(self._queue, job, self._doing) if job is not None else None


class ShownJob:
    """A job as the UI may see it. Actions of the UI work on the whole job, with all arguments."""

    def __init__(self, queue: EngineQueue, job: Job, doing: Doing) -> None:
        self._queue, self._job, self._doing = queue, job, doing

    def to_dict(self) -> dict[str, Any]:
        """The fields to show."""
        return as_text(RedactedView(self._queue.tasks).of_job(self._job.to_dict()))

    async def retry(self, error: str | None) -> None:
        async with self._doing("retry", self._job):
            await self._queue.retry_by_hand(self._job)

    async def abort(self, error: str) -> None:
        async with self._doing("abort", self._job):
            await self._queue.abort_by_hand(self._job, error)


def _ui(config: SAQConfig, audit: Audit, base_path: str, earlier: Any, console: str | None) -> Router:
    """The page and its files, which no page of another site can use."""
    guards = config.web_guards or ()
    guard = AllOf([same_site, *guards])
    files = {path.name: read(path) for path in config.static_files.iterdir()}
    handlers = router_handlers()
    if console is not None:
        handlers[401] = partial(_sign_in, console)
    return SoleRouter(
        "/",
        route_handlers=[
            serve_files(f"{config.web_path}/static", files, guards=[guard]),
            _controller(config, audit, guard, base_path, earlier),
        ],
        exception_handlers=handlers,
        response_headers=HEADERS,
        opt=_past_middleware(guards),
    )


def _sign_in(console: str, request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Browsers sign in on the page of the console."""
    address = login_address(request, console)
    return led_to(address) if address else http_error(request, error)


def _past_middleware(guards: Iterable[Any]) -> dict[str, Any]:
    access = next((each.access for each in guards if isinstance(each, MethodGuard)), None)
    return {"exclude_from_csrf": True} if access is None else past_middleware(access)


def _controller(config: SAQConfig, audit: Audit, guard: Guard, base_path: str, earlier: Any) -> type[Controller]:
    """SAQ's controller on redacted queues."""

    def shown_queues(request: Request[Any, Any, Any]) -> TaskQueues:
        def doing(action: Action, job: Job) -> AbstractAsyncContextManager[Any]:
            entry = audit_entry(request, action, "job", [job.key], task=job.function, queue=job.get_queue().name)
            return audit.doing(entry)

        queues = {
            name: ShownQueue(cast("EngineQueue", queue), doing) for name, queue in config.get_queues().queues.items()
        }
        return TaskQueues(queues=cast("dict[str, Queue]", queues))

    # A separate class: litestar-saq keeps the one that it builds, for all applications of the process.
    built = build_controller(config.web_path, [guard], False)
    whole = normalize_path(f"{base_path}/{config.web_path}")
    inside = {
        "dependencies": {config.queues_dependency_key: Provide(shown_queues, sync_to_thread=False)},
        "before_request": _with_slash(whole, earlier),
        "index": _index(config.web_path, whole, built),
        "health": _health(built),
    }
    return type("RedactedController", (built,), inside)


def _index(path: str, whole: str, built: Any) -> HTTPRouteHandler:
    """SAQ's page, whose addresses begin with the path that the client sees.

    Args:
        path: of the page in the application, with which litestar-saq writes the page.
        whole: the same with the path of the application.
        built: litestar-saq's controller.
    """

    @get(sorted(built.index.paths), media_type=MediaType.HTML, include_in_schema=False)
    async def index(self: Any, request: Request[Any, Any, Any]) -> Response[str]:
        page: str = await built.index.fn(self)
        root = _mounted_at(request) + whole
        page = page.replace(f'"{html.escape(path)}', f'"{html.escape(root)}')
        return Response(page, headers={"Content-Security-Policy": _policy(root)})

    return index


def _health(built: Any) -> HTTPRouteHandler:
    """The health of SAQ's page: 503 while Redis does not answer, where litestar-saq 0.8 says 500."""

    @get(sorted(built.health.paths), media_type=MediaType.TEXT, include_in_schema=False)
    async def health(self: Any, task_queues: NamedDependency[TaskQueues]) -> Response[str]:
        answer: Response[str] = await built.health.fn(self, task_queues)
        if answer.status_code == HTTP_500_INTERNAL_SERVER_ERROR:
            answer.status_code = HTTP_503_SERVICE_UNAVAILABLE
        return answer

    return health


def _policy(path: str) -> str:
    """What SAQ's page may load: its files, and its one inline script, by hash."""
    script = f'const root_path = "{html.escape(path)}";'
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _with_slash(path: str, earlier: Any) -> Callable[[Request[Any, Any, Any]], Any]:
    """Redirects `/saq` to `/saq/`, after the guards, because SAQ's page uses relative URLs."""

    async def redirect(request: Request[Any, Any, Any]) -> Any:
        mounted = _mounted_at(request)
        if request.scope["raw_path"].removeprefix(quote(mounted).encode()) == path.encode():
            return Redirect(f"{mounted}{path}/", status_code=HTTP_307_TEMPORARY_REDIRECT)
        return await earlier(request) if earlier else None

    return redirect


def _mounted_at(request: Request[Any, Any, Any]) -> str:
    """The path under which a server or a proxy serves the application; empty for none."""
    return (request.scope.get("root_path") or "").rstrip("/")
