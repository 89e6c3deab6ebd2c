"""The composition of the queue: its tasks, and the library's settings for them.

The one place in `app/queue` that knows the domains. Importing a domain's `tasks.py` registers its tasks: to add a
domain, add its `import app.<domain>.tasks` line to the others below.
"""

import ast
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dishka import AsyncContainer

import app.campaigns.tasks
import app.emails.tasks
import app.payments.tasks
import app.queue.tasks
import app.todos.tasks
import app.users.tasks  # noqa: F401
from app.settings import Settings, load_settings
from app.version import __version__
from saqueduct import ConfigurationError, Queues, SaqueductConfig, get_registry

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

APP = Path(__file__).resolve().parents[1]


def build_config(
    settings: Settings,
    container: Callable[[Queues], AsyncContainer] | None = None,
    tracer_provider: "TracerProvider | None" = None,
) -> SaqueductConfig:
    """The library's settings, built from those of the application.

    Args:
        settings: of this process.
        container: makes the container that tasks are injected from; None: this process runs no tasks.
        tracer_provider: of OpenTelemetry's SDK; None: traces are off.

    Raises:
        ConfigurationError: a `tasks.py` is not imported above.
    """
    check_task_modules_are_imported()
    return SaqueductConfig(
        registry=get_registry(),
        container=container,
        traces=tracer_provider is not None,
        tracer_provider=tracer_provider,
        data_directory=settings.app.dev_dir,
        secret_key=settings.app.secret_key.reveal(),
        environment=settings.app.environment,
        version=__version__,
        **_servers(settings),
        **_queues(settings),
        **_workers(settings),
        **_reports(settings),
        **_access(settings),
    )


def _servers(settings: Settings) -> dict[str, Any]:
    database = settings.database
    return {
        "redis_url": settings.redis.url.reveal(),
        "database_url": database.url.reveal(),
        "database_connect_timeout": database.connect_timeout,
        "database_lock_timeout": database.lock_timeout,
        "pgbouncer": database.pgbouncer == "on",
    }


def _queues(settings: Settings) -> dict[str, Any]:
    """Of the queues, and of what PostgreSQL keeps of their jobs."""
    queue = settings.queue
    return {
        "queues": settings.queue_names,
        "max_payload_bytes": queue.max_payload_bytes,
        "records": queue.records == "on",
        "record_result_bytes": queue.record_result_bytes,
        "record_logs": queue.record_logs == "on",
        "record_synchronous_commit": queue.record_synchronous_commit == "on",
        "keep_complete_days": queue.keep_complete_days,
        "keep_aborted_days": queue.keep_aborted_days,
        "keep_failed_days": queue.keep_failed_days,
        "keep_audit_days": queue.keep_audit_days,
        "forgotten_after": queue.forgotten_after,
    }


def _workers(settings: Settings) -> dict[str, Any]:
    worker = settings.worker
    return {
        "concurrency": worker.concurrency,
        "worker_queues": settings.worker_queues,
        "processes": worker.processes,
        "grace_period": worker.grace_period,
        "deploy_window": worker.deploy_window,
        "outage_limit": worker.outage_limit,
        "cron_timezone": worker.cron_timezone,
    }


def _reports(settings: Settings) -> dict[str, Any]:
    """Of metrics and alerts."""
    metrics, enabled = settings.metrics, settings.metrics.enabled == "on"
    return {
        "metrics": enabled,
        "metrics_port": metrics.port or None if enabled else None,
        "metrics_host": metrics.host,
        "metrics_token": metrics.token.reveal(),
        "alert_webhook": settings.alerts.webhook.reveal(),
        "alert_mail_to": settings.alert_mail_to,
        "alert_mail_from": settings.smtp.sender,
        "alert_smtp_url": settings.smtp.url.reveal() if settings.alert_mail_to else "",
    }


def _access(settings: Settings) -> dict[str, Any]:
    """Of the HTTP API, and who may call it."""
    admin = settings.admin
    return {
        "api_path": "/",
        "admin_username": admin.username,
        "admin_password": admin.password.reveal(),
        "admin_token": admin.token.reveal(),
        "credentials": admin.credentials.reveal(),
        "proxy_user_header": admin.proxy_user_header,
        "proxy_role_header": admin.proxy_role_header,
        "trusted_proxies": settings.trusted_proxies,
        "session_hours": admin.session_hours,
    }


def load_config() -> SaqueductConfig:
    """The library's settings from the environment, for `saqueduct --app app.queue.config:load_config`.

    Unlike the whole application, it needs no web framework.

    Raises:
        SettingsError: the environment is invalid.
        ConfigurationError: see `build_config`.
    """
    return build_config(load_settings())


def check_task_modules_are_imported(app: Path = APP, config: Path = Path(__file__)) -> None:
    """Raise when a domain's `tasks.py` exists and the config does not import it: its tasks would be unknown.

    Raises:
        ConfigurationError: contains the lines to add.
    """
    imported = _imported_modules(config.read_text(encoding="utf-8"))
    modules = sorted(f"{app.name}.{path.parent.name}.tasks" for path in app.glob("*/tasks.py"))
    missing = [module for module in modules if module not in imported]
    if missing:
        lines = "\n".join(f"    import {module}" for module in missing)
        raise ConfigurationError(f"tasks modules without an import line; add to {config}:\n{lines}")


@functools.lru_cache(maxsize=1)
def _imported_modules(source: str) -> set[str]:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.update(f"{node.module}.{alias.name}" for alias in node.names)
    return imported
