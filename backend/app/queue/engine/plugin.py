"""The Litestar plugin: queues for the routes, and SAQ's web UI with every file of it guarded and redacted.

Subclasses `litestar_saq.SAQPlugin` of litestar-saq 0.8. Overridden, and why:

- `on_app_init`: the original starts a worker heartbeat thread in the web process, serves the UI's static
  files without the guards, and shows every argument.
- `get_workers`: the original builds its own Worker class; jobs are run by `python -m app.worker` instead.
- `on_cli_init`: its `workers` commands would start those workers.
"""

from collections.abc import Callable
from typing import Any, cast

from click import Group
from litestar import Controller, Request
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.response import Redirect
from litestar.static_files import create_static_files_router
from litestar.status_codes import HTTP_307_TEMPORARY_REDIRECT
from litestar_saq import SAQConfig, SAQPlugin, TaskQueues
from litestar_saq.controllers import build_controller
from saq import Job
from saq.queue import Queue
from saq.types import QueueInfo

from app.queue.engine.queue import EngineQueue
from app.queue.shown import shown


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
            app_config.route_handlers.append(_controller(config, app_config.before_request))
        return app_config

    def get_workers(self) -> dict[str, Any]:
        """No worker lives in the web process."""
        return {}


class ShownQueue:
    """A queue as the UI may see it: what SAQ's controller asks of a queue, with the jobs redacted."""

    def __init__(self, queue: EngineQueue) -> None:
        self._queue = queue

    async def info(self, jobs: bool = False) -> QueueInfo:
        """The queue in numbers, and with `jobs` some of its jobs."""
        info = await self._queue.info(jobs=jobs)
        info["jobs"] = [shown(self._queue, fields) for fields in info["jobs"]]
        return info

    async def job(self, job_key: str) -> "ShownJob | None":
        """The job of that key, or None."""
        job = await self._queue.job(job_key)
        return ShownJob(self._queue, job) if job is not None else None


class ShownJob:
    """A job as the UI may see it. What the UI does with it is done with the whole job, arguments and all."""

    def __init__(self, queue: EngineQueue, job: Job) -> None:
        self._queue, self._job = queue, job

    def to_dict(self) -> dict[str, Any]:
        """The fields to show."""
        return shown(self._queue, self._job.to_dict())

    async def retry(self, error: str | None) -> None:
        await self._queue.retry_by_hand(self._job)

    async def abort(self, error: str) -> None:
        await self._queue.abort_by_hand(self._job, error)


def _controller(config: SAQConfig, earlier: Any) -> type[Controller]:
    """SAQ's controller on redacted queues."""

    def shown_queues() -> TaskQueues:
        queues = {name: ShownQueue(cast("EngineQueue", queue)) for name, queue in config.get_queues().queues.items()}
        return TaskQueues(queues=cast("dict[str, Queue]", queues))

    # A class of our own: litestar-saq keeps the one that it builds, for all applications of the process.
    built = build_controller(config.web_path, config.web_guards, False)
    dependencies = {config.queues_dependency_key: Provide(shown_queues, sync_to_thread=False)}
    inside = {"dependencies": dependencies, "before_request": _with_slash(config.web_path, earlier)}
    return type("RedactedController", (built,), inside)


def _with_slash(path: str, earlier: Any) -> Callable[[Request[Any, Any, Any]], Any]:
    """Leads from `/saq` to `/saq/`, after the guards: SAQ's page finds itself only there."""

    async def lead(request: Request[Any, Any, Any]) -> Any:
        if request.scope["raw_path"] == path.encode():
            return Redirect(f"{path}/", status_code=HTTP_307_TEMPORARY_REDIRECT)
        return await earlier(request) if earlier else None

    return lead
