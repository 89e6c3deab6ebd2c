"""SaqueductPlugin: queues, workers, the console, SAQ's web UI and the queue's HTTP API in a Litestar application.

app = Litestar([...], plugins=[SaqueductPlugin(SaqueductConfig(redis_url="redis://127.0.0.1:6379/0"))])
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.plugins import CLIPlugin, InitPluginProtocol
from litestar.types import ASGIApp, Receive, Scope, Send

from saqueduct.application import Saqueduct
from saqueduct.broker.outage import OneWait, one_wait
from saqueduct.common.secret import Secret
from saqueduct.common.sole_router import SoleRouter
from saqueduct.config import SaqueductConfig
from saqueduct.console.entry import ConsoleEntry
from saqueduct.console.router import console_router
from saqueduct.errors import ConfigurationError, QueueError
from saqueduct.injection.injector import check_dependencies
from saqueduct.litestar.access import Access, build_access, person_of
from saqueduct.litestar.errors import queue_error, router_handlers
from saqueduct.litestar.guards import MethodGuard, RoleGuard, decide, past_middleware, same_site
from saqueduct.litestar.openapi import describe
from saqueduct.litestar.redis_outage import RedisOutageReport
from saqueduct.litestar.router import body_limit, install, queue_router, whole_path
from saqueduct.litestar.saq_plugin import QueuePlugin, saq_config
from saqueduct.litestar.startup_errors import without_traceback
from saqueduct.tasks.queues import preferred_queues

if TYPE_CHECKING:
    from click import Group

MIN_SECRET_LENGTH = 32
"""Characters that `secret_key` needs in production."""


class SaqueductPlugin(InitPluginProtocol, CLIPlugin):
    """Wires the queues of a `SaqueductConfig` into a Litestar application.

    - The queues are connected in the application's lifespan, before its other lifespans.
    - Tasks are injected the dependencies of the application by parameter name, also the session of advanced-alchemy.
    - Handlers enqueue with `task.enqueue(...)`, or by name with litestar-saq's `task_queues: TaskQueues`.
    - `console_path` serves the console, `ui_path` SAQ's web UI, `api_path` the HTTP API; `access` decides who may
      call, and in development with no way to sign in only this machine may.
    - With `run_workers="web"` a worker runs in the process; it starts after the `on_startup` hooks, and lets its jobs
      end before the lifespans of the application are left. The server's signal handlers stay unchanged.
    - `litestar workers run` runs workers in processes of their own.

    Args:
        config: or a `Saqueduct` that is built already.

    Raises:
        ConfigurationError: see `Saqueduct`; or production without credentials, guards or `secret_key`.
    """

    def __init__(self, config: SaqueductConfig | Saqueduct) -> None:
        self.saqueduct = config if isinstance(config, Saqueduct) else Saqueduct(config)
        check_production(self.saqueduct.config)
        self._worker = AsyncExitStack()
        self._installed = False

    @property
    def config(self) -> SaqueductConfig:
        """The settings, with the URLs of embedded servers where they named none."""
        return self.saqueduct.config

    @property
    def runs_worker(self) -> bool:
        """True when web processes run a worker."""
        if self.config.run_workers is None:
            return self.saqueduct.embedded is not None
        return self.config.run_workers == "web"

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add routes, dependencies, lifespan and error handler.

        Raises:
            ConfigurationError: the application has another SaqueductPlugin.
        """
        if any(isinstance(plugin, SaqueductPlugin) and plugin is not self for plugin in app_config.plugins):
            raise ConfigurationError(
                "an application takes one SaqueductPlugin: name all queues in its SaqueductConfig(queues=[...]), or "
                "give the second plugin to an application of its own, which can run in the same process"
            )
        # Read when they are used: other plugins may add dependencies after this one.
        self.saqueduct.injectors.named.serve(app_config)
        self._add_ui(app_config)
        if (path := self.config.api_path) is not None:
            self._add_api(app_config, path)
        if (path := self.config.console_path) is not None:
            self._add_console(app_config, path)
        app_config.exception_handlers = {QueueError: queue_error, **app_config.exception_handlers}
        app_config.lifespan.insert(0, self._connected)
        if self.runs_worker:
            app_config.on_startup.append(self._start_worker)
            app_config.lifespan.append(self._until_worker_stopped)
        return app_config

    def _add_ui(self, app_config: AppConfig) -> None:
        """SAQ's web UI, and `task_queues` of litestar-saq."""
        config, access, queues = self.config, self.access, self.saqueduct.queues
        ui = saq_config(queues, [MethodGuard(access)], config.ui_path)
        console = None if config.console_path is None else whole_path(app_config.path, config.console_path)
        QueuePlugin(ui, queues.audit, console if access.takes_passwords else None).on_app_init(app_config)

    def _add_api(self, app_config: AppConfig, path: str) -> None:
        """The HTTP API and its part of the OpenAPI document."""
        config, access = self.config, self.access
        router = queue_router(
            self.saqueduct,
            path=path,
            access=access,
            max_payload_bytes=config.max_payload_bytes,
            sessions=config.api_sessions,
            base_path=app_config.path,
            metrics=self.saqueduct.metrics if config.has_metrics else None,
            metrics_token=Secret(config.metrics_token),
            kind=SoleRouter,
        )
        app_config.route_handlers.append(router)
        if (document := app_config.openapi_config) is not None:
            app_config.openapi_config = describe(
                document,
                router,
                self.saqueduct.registry,
                credentials=access.takes_credentials,
                base_path=app_config.path,
            )

    def _add_console(self, app_config: AppConfig, path: str) -> None:
        config, access = self.config, self.access
        entry = ConsoleEntry(
            guards=[same_site, RoleGuard(access)],
            person_of=person_of,
            tokens=access.sessions,
            sign_in=access,
            is_open=access.is_open,
            beside=[] if config.ui_path is None else [whole_path(app_config.path, config.ui_path)],
        )
        router = console_router(
            self.saqueduct,
            path=path,
            entry=entry,
            exception_handlers=router_handlers(),
            base_path=app_config.path,
            opt=past_middleware(access),
            max_body_bytes=body_limit(config.max_payload_bytes),
        )
        app_config.route_handlers.append(router)

    def on_cli_init(self, cli: "Group") -> None:
        """Add `workers` and `queue`."""
        # Here: web processes need no commands.
        from saqueduct.cli import build_queue_group
        from saqueduct.litestar.worker_commands import workers_group

        cli.add_command(workers_group(self))
        cli.add_command(build_queue_group(lambda: self.saqueduct))

    def worker_lifespans(self, app: Litestar) -> list[AbstractAsyncContextManager[Any]]:
        """The lifespans of the application that a worker process enters."""
        return [lifespan(app) for lifespan in self.config.worker_lifespans]

    @cached_property
    def access(self) -> Access:
        """Who may call the UI and the API; an application may use it for routes of its own, too, with `RoleGuard` of
        `saqueduct.litestar.guards`."""
        return build_access(self.config, next(iter(self.saqueduct.queues)), self.saqueduct.signing_key)

    def _prefer_queues(self, app: ASGIApp) -> ASGIApp:
        """ASGI application around another: tasks enqueue on the queues of this application, also with others in the
        same process, and a request waits once for a Redis that does not answer. Not Litestar's middleware, which costs
        a request 20 us more.
        """

        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            before, wait = preferred_queues.set(self.saqueduct.queues), OneWait()
            waited = one_wait.set(wait)
            try:
                await app(scope, receive, send)
            finally:
                wait.is_over = True
                one_wait.reset(waited)
                preferred_queues.reset(before)

        return call

    @asynccontextmanager
    async def _connected(self, app: Litestar) -> AsyncIterator[None]:
        if not self._installed:
            self._installed = True
            app.asgi_handler = self._prefer_queues(app.asgi_handler)
            decide(app)
            if self.config.api_path is not None:
                install(app)
        # Another application may have been built with the same queues since.
        self.saqueduct.injectors.named.serve(app)
        with without_traceback():
            # As workers do: otherwise only the first worker, perhaps in another deployment, says what is missing.
            check_dependencies(self.saqueduct.injector, self.saqueduct.registry.get_all_tasks())
            async with self.saqueduct, self.saqueduct.watching():
                if self.runs_worker:
                    # The worker reports it.
                    yield
                    return
                async with RedisOutageReport(next(iter(self.saqueduct.queues))):
                    yield

    async def _start_worker(self) -> None:
        await self._worker.enter_async_context(self.saqueduct.working(restart=True))

    @asynccontextmanager
    async def _until_worker_stopped(self, _: Litestar) -> AsyncIterator[None]:
        async with self._worker:
            yield


def check_production(config: SaqueductConfig) -> None:
    """Raise if production would have no admin, or tokens that anyone could make.

    Raises:
        ConfigurationError: names the fields and variables to set.
    """
    if not config.production or not any((config.api_path, config.ui_path, config.console_path)):
        return
    problems = []
    if not config.can_sign_in:
        problems.append(
            "ADMIN_PASSWORD or ADMIN_TOKEN (admin_password, admin_token), ADMIN_CREDENTIALS (credentials), identify, "
            "proxy_user_header, or guards of the application"
        )
    if (config.api_path is not None or config.console_path is not None) and len(config.secret_key) < MIN_SECRET_LENGTH:
        problems.append(f"SECRET_KEY (secret_key) with {MIN_SECRET_LENGTH} characters or more: `openssl rand -hex 32`")
    if problems:
        listed = "".join(f"\n  - {each}" for each in problems)
        raise ConfigurationError(f"production needs, for the UI and the API of the queue:{listed}")
