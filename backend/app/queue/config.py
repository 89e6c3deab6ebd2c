"""The composition of the queue: which tasks there are, and SAQ's settings for them.

The one place in `app/queue` that knows the domains. Importing a domain's `tasks.py` registers its tasks: to add a
domain, add its `import app.<domain>.tasks` line to the others below.
"""

import ast
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dishka import AsyncContainer
from litestar_saq import QueueConfig, SAQConfig
from saq.types import Context

import app.campaigns.tasks
import app.emails.tasks
import app.payments.tasks
import app.queue.tasks
import app.todos.tasks
import app.users.tasks  # noqa: F401
from app.db.session import make_engine
from app.settings import Settings
from saqueduct.broker.connections import Connections
from saqueduct.errors import ConfigurationError
from saqueduct.postgres.records import Rows
from saqueduct.postgres.store import Memory
from saqueduct.queue.queue import EngineQueue
from saqueduct.queue.queues import Queues
from saqueduct.tasks.injection import check_dependencies
from saqueduct.tasks.registry import TaskRegistry, get_registry
from saqueduct.worker.hooks import bind_log_context, clear_log_context, give_queue
from saqueduct.worker.worker import EngineWorker

Hooks = tuple[Callable[[Context], Awaitable[None]], ...]

APP = Path(__file__).resolve().parents[1]

STARTUP: Hooks = (give_queue,)
SHUTDOWN: Hooks = ()
BEFORE_PROCESS: Hooks = (bind_log_context,)
AFTER_PROCESS: Hooks = (clear_log_context,)
"""What every worker calls with the context: at its start and stop, before and after each job."""

MEMORY_CONNECTIONS = 3
"""Connections to PostgreSQL that the memory keeps open, beside those of the application; as many again under load."""

CANCELLATION_DEADLINE = 2.0
"""Seconds a cancelled job gets for its clean-up when a worker stops."""


def build_queues(settings: Settings) -> Queues:
    """The queues of QUEUE_NAMES on the Redis of REDIS_URL, validating by the registry.

    Raises:
        ConfigurationError: a task names a queue that QUEUE_NAMES lacks, or a `tasks.py` is not imported above.
    """
    check_task_modules_are_imported()
    registry = get_registry()
    check_queue_names(registry, settings.queue_names)
    connections = Connections(settings.redis.url.reveal())
    queues = {
        name: EngineQueue(
            connections.client(name), name, tasks=registry, max_payload_bytes=settings.queue.max_payload_bytes
        )
        for name in settings.queue_names
    }
    return Queues(queues, registry, build_memory(settings, registry))


def build_memory(settings: Settings, registry: TaskRegistry) -> Memory:
    """What PostgreSQL does for the queues: outbox, durable jobs, job records."""
    rows = Rows(registry, settings.queue.record_result_bytes, settings.queue.records == "on")
    return Memory(
        make_engine(settings, MEMORY_CONNECTIONS),
        rows,
        forgotten_after=settings.queue.forgotten_after,
        listens=settings.database.pgbouncer == "off",
    )


def build_saq_config(settings: Settings, queues: Queues, guards: Iterable[Any] = ()) -> SAQConfig:
    """SAQ's settings: queues, tasks, schedules, concurrency, cron time zone, hooks.

    Every worker knows every task, so that a job runs on whichever queue it was put; a schedule belongs to the
    queue of its task.
    """
    registry = get_registry()
    return SAQConfig(
        queue_configs=[
            QueueConfig(
                broker_instance=queue.redis,
                name=name,
                tasks=[task.runner for task in registry.get_all_tasks()],
                scheduled_tasks=registry.get_all_scheduled_tasks(name),  # type: ignore[arg-type]
                concurrency=settings.worker.concurrency,
                cron_tz=ZoneInfo(settings.worker.cron_timezone),
                startup=STARTUP,
                shutdown=SHUTDOWN,
                before_process=BEFORE_PROCESS,
                after_process=AFTER_PROCESS,
                shutdown_grace_period_s=settings.worker.grace_period,
                cancellation_hard_deadline_s=CANCELLATION_DEADLINE,
            )
            for name, queue in queues.by_name.items()
        ],
        queue_instances=dict(queues.by_name),
        web_enabled=True,
        web_guards=list(guards) or None,
        enable_otel=False,
    )


def build_workers(
    settings: Settings, queues: Queues, container: AsyncContainer, metadata: Mapping[str, Any] | None = None
) -> list[EngineWorker]:
    """One worker for each queue of WORKER_QUEUES; they share the event loop of this process.

    Raises:
        ConfigurationError: a task has a parameter that is neither JSON nor provided by the container.
    """
    registry = get_registry()
    check_dependencies(container, registry.get_all_tasks())

    async def give_container(ctx: Context) -> None:
        ctx["container"] = container  # type: ignore[typeddict-unknown-key]

    return [
        EngineWorker(
            queues.get(config.name),
            config.tasks,
            concurrency=config.concurrency,
            scheduled=[task for task in registry.get_all_tasks() if task.queue_name == config.name],
            deploy_window=settings.worker.deploy_window,
            cron_tz=config.cron_tz,
            startup=[give_container, *STARTUP],
            shutdown=SHUTDOWN,
            before_process=BEFORE_PROCESS,
            after_process=AFTER_PROCESS,
            shutdown_grace_period_s=config.shutdown_grace_period_s,
            cancellation_hard_deadline_s=CANCELLATION_DEADLINE,
            metadata=dict(metadata or {}),
            outage_limit=settings.worker.outage_limit,
        )
        for config in build_saq_config(settings, queues).queue_configs
        if config.name in settings.worker_queues
    ]


def check_queue_names(registry: TaskRegistry, names: Iterable[str]) -> None:
    """Raise when a task's queue is not one of `names`.

    Raises:
        ConfigurationError: names each such task.
    """
    known = tuple(names)
    strays = [task for task in registry.get_all_tasks() if task.queue_name not in known]
    if strays:
        listed = "\n  ".join(f"{task.where}: {task.name}: queue={task.queue_name!r}" for task in strays)
        raise ConfigurationError(f"these tasks name a queue that QUEUE_NAMES ({', '.join(known)}) lacks:\n  {listed}")


def check_task_modules_are_imported(app: Path = APP, config: Path = Path(__file__)) -> None:
    """Raise when a domain's `tasks.py` exists and the config does not import it: its tasks would be unknown.

    Raises:
        ConfigurationError: holds the lines to add.
    """
    imported = _imported_modules(config)
    modules = sorted(f"{app.name}.{path.parent.name}.tasks" for path in app.glob("*/tasks.py"))
    missing = [module for module in modules if module not in imported]
    if missing:
        lines = "\n".join(f"    import {module}" for module in missing)
        raise ConfigurationError(f"tasks modules without an import line; add to {config}:\n{lines}")


def _imported_modules(path: Path) -> set[str]:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.update(f"{node.module}.{alias.name}" for alias in node.names)
    return imported
