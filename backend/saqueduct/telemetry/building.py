"""Builds the metrics, traces, alerts and monitors that a SaqueductConfig asks for."""

import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from saqueduct.common.near_names import did_you_mean
from saqueduct.common.secret import Secret
from saqueduct.config import SaqueductConfig
from saqueduct.errors import ConfigurationError
from saqueduct.queue.metering import Meter
from saqueduct.queue.queues import Queues
from saqueduct.tasks.definition import TaskDefinition
from saqueduct.telemetry.counters import JobCounters
from saqueduct.telemetry.reporter import MetricsReporter

if TYPE_CHECKING:
    from saqueduct.postgres.store import PostgresStore
    from saqueduct.telemetry.alerts.watcher import AlertWatcher
    from saqueduct.telemetry.history import HistoryWriter
    from saqueduct.telemetry.monitors import ScheduleMonitors
    from saqueduct.telemetry.sentry import SentryReporter


class Observer(Protocol):
    """Reports the attempts of jobs by hooks of the workers."""

    def before(self) -> Callable[[Any], Awaitable[None]]: ...
    def after(self) -> Callable[[Any], Awaitable[None]]: ...


def build_metrics(config: SaqueductConfig, queues: Queues, store: "PostgresStore | None") -> MetricsReporter | None:
    """Counts the jobs of these queues from now on; None: metrics are off, and nothing is counted.

    Raises:
        ConfigurationError: a package is missing.
    """
    if config.has_metrics:
        _check_prometheus()
    if not (config.has_metrics or config.opentelemetry):
        return None
    sessions, records = (None, None) if store is None else (store.sessions, store.recorder)
    if not config.opentelemetry:
        return MetricsReporter(queues, sessions, records)
    try:
        from saqueduct.telemetry.opentelemetry import OpenTelemetryMetrics
    except ModuleNotFoundError as error:
        raise ConfigurationError("opentelemetry=True needs its API: pip install 'saqueduct[otel]'") from error
    twins = OpenTelemetryMetrics(config.meter_provider)
    wrap: Callable[[JobCounters], Meter] = twins.wrap
    reporter = MetricsReporter(queues, sessions, records, wrap)
    twins.observe(reporter)
    return reporter


def build_traces(config: SaqueductConfig, queues: Queues) -> None:
    """Make spans for the jobs of these queues from now on, if the settings ask for it.

    Raises:
        ConfigurationError: a package is missing.
    """
    if not config.traces:
        return
    try:
        from saqueduct.telemetry.tracing import trace
    except ModuleNotFoundError as error:
        raise ConfigurationError("traces=True needs OpenTelemetry's API: pip install 'saqueduct[otel]'") from error
    trace(config, queues)


def build_alerts(config: SaqueductConfig, queues: Queues, store: "PostgresStore | None") -> "AlertWatcher | None":
    """What reports when something is wrong; None: the settings name no channel for it."""
    if not (config.alert_webhook or config.alert_mail_to or config.alert_function):
        return None
    # Here: few applications use them.
    from saqueduct.telemetry.alerts.channels import channels_of
    from saqueduct.telemetry.alerts.watcher import AlertWatcher
    from saqueduct.telemetry.system_state import SystemReader

    system = SystemReader(queues, None if store is None else store.sessions)
    return AlertWatcher(queues, system, channels_of(config), config.environment)


def build_monitors(config: SaqueductConfig, tasks: Iterable[TaskDefinition]) -> "ScheduleMonitors | None":
    """What pings the monitors of schedules; None: they have none.

    Raises:
        ConfigurationError: `config.monitors` names an unknown schedule.
    """
    schedules = {schedule.key: schedule.monitor for task in tasks for schedule in task.schedules}
    if problems := [
        f"monitors: there is no schedule {key!r}: {did_you_mean(key, sorted(schedules))}"
        for key in config.monitors
        if key not in schedules
    ]:
        raise ConfigurationError("\n".join(problems))
    urls = {key: url for key, url in {**schedules, **config.monitors}.items() if url}
    if not urls:
        return None
    # Here, as above.
    from saqueduct.telemetry.monitors import ScheduleMonitors

    return ScheduleMonitors({key: Secret(url) for key, url in urls.items()}, config.timings)


def build_sentry(config: SaqueductConfig, tasks: Iterable[TaskDefinition]) -> "SentryReporter | None":
    """What reports to Sentry; None: the application has not initialized it."""
    if "sentry_sdk" not in sys.modules:
        return None
    from saqueduct.telemetry.sentry import SentryReporter, is_used

    return SentryReporter(tasks, config.cron_timezone) if is_used() else None


def build_history(
    config: SaqueductConfig, queues: Queues, store: "PostgresStore | None", metrics: MetricsReporter | None
) -> "HistoryWriter | None":
    """Writes the history of these queues; None: there is none.

    Its numbers are those of the metrics. Where they are off, jobs are counted for it, unless there are no records.
    """
    if store is None or (metrics is None and config.records is False):
        return None
    # Here: it needs SQLAlchemy, and not every application has a PostgreSQL.
    from saqueduct.telemetry.history import HistoryWriter

    if metrics is not None:
        return HistoryWriter(metrics.counters, store)
    counters = [JobCounters(queue.name, queues.tasks) for queue in queues]
    for queue, each in zip(queues, counters, strict=True):
        queue.core.meter = each
    return HistoryWriter(counters, store)


def metrics_port(config: SaqueductConfig, reporter: MetricsReporter | None) -> AbstractContextManager[object]:
    """Serves the metrics of a worker process during a `with` block, if the settings ask for it.

    Raises:
        ConfigurationError: the port cannot be opened.
    """
    if reporter is None or config.metrics_port is None:
        return nullcontext()
    from saqueduct.telemetry.metrics_port import MetricsPort

    return MetricsPort(reporter, config.metrics_host, config.metrics_port, Secret(config.metrics_token))


def _check_prometheus() -> None:
    try:
        import prometheus_client  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "metrics for Prometheus need prometheus-client: pip install 'saqueduct[prometheus]'"
        ) from error
