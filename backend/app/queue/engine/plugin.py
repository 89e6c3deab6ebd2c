"""The Litestar plugin: queues for the routes, and SAQ's web UI with every file of it guarded.

Subclasses `litestar_saq.SAQPlugin` of litestar-saq 0.8. Overridden, and why:

- `on_app_init`: the original starts a worker heartbeat thread in the web process, and serves the UI's static
  files without the guards.
- `get_workers`: the original builds its own Worker class; jobs are run by `python -m app.worker` instead.
- `on_cli_init`: its `workers` commands would start those workers.
"""

from typing import Any

from click import Group
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.static_files import create_static_files_router
from litestar_saq import SAQPlugin
from litestar_saq.controllers import build_controller


class QueuePlugin(SAQPlugin):
    """Wires the queues of a SAQConfig into the Litestar application."""

    __slots__ = ()

    def on_cli_init(self, cli: Group) -> None:
        """Add no command."""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Provide the queues to handlers, and mount the web UI behind `web_guards`."""
        config = self.config
        app_config.dependencies[config.queues_dependency_key] = Provide(config.provide_queues)
        app_config.signature_namespace.update(config.signature_namespace)
        if config.web_enabled:
            app_config.route_handlers.append(
                create_static_files_router(
                    path=f"{config.web_path}/static",
                    directories=[config.static_files],
                    name="saq",
                    guards=config.web_guards,
                )
            )
            app_config.route_handlers.append(build_controller(config.web_path, config.web_guards, False))
        return app_config

    def get_workers(self) -> dict[str, Any]:
        """No worker lives in the web process."""
        return {}
